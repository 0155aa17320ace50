"""``python -m vidact``: the same command line as ``vidact``."""

from vidact.cli.app import main

if __name__ == "__main__":
    main()
