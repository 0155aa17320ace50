"""The command line, called as ``vidact`` or ``python -m vidact``. Ctrl-C while it is being imported ends it quietly."""

import os
from typing import NoReturn


def main() -> NoReturn:
    """Import the command line and run it."""
    try:
        from vidact.cli import app
    except KeyboardInterrupt:
        os._exit(130)
    app.main()


if __name__ == "__main__":
    main()
