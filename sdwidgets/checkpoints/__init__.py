"""Models on disk and on the hub: safetensors in, safetensors out.

Models are listed (`listing`) without torch, so the names here are loaded at their first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conversion import Converted, convert
    from .describe import inspect
    from .description import Description
    from .first_stage import load_autoencoder
    from .load import load_model
    from .save import save_autoencoder, save_model
    from .save_system import save_system

__all__ = [
    "Converted",
    "Description",
    "convert",
    "inspect",
    "load_autoencoder",
    "load_model",
    "save_autoencoder",
    "save_model",
    "save_system",
]


def __getattr__(name: str) -> Any:
    """Load a public name (PEP 562)."""
    if name == "load_model":
        from .load import load_model

        return load_model
    if name == "load_autoencoder":
        from .first_stage import load_autoencoder

        return load_autoencoder
    if name in ("save_autoencoder", "save_model"):
        from . import save

        return getattr(save, name)
    if name == "save_system":
        from .save_system import save_system

        return save_system
    if name in ("Converted", "convert"):
        from . import conversion

        return getattr(conversion, name)
    if name in ("Description", "inspect"):
        from . import describe

        return getattr(describe, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
