"""Models on disk and on the hub: safetensors in, safetensors out."""

from .load import load_model
from .save import save_model

__all__ = ["load_model", "save_model"]
