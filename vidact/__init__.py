"""vidact: which action every clip shows, and when actions happen, for whole archives of videos.

The public Python surface is imported on first use, so that ``import vidact`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "classify", "load_model", "localize"]

if TYPE_CHECKING:
    from vidact.engine.run import classify, localize
    from vidact.models.build import load_model

_HOMES = {
    "classify": "vidact.engine.run",
    "localize": "vidact.engine.run",
    "load_model": "vidact.models.build",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vidact' has no attribute {name!r}")
