"""Models on disk and on the hub: safetensors in, safetensors out."""

from .first_stage import load_autoencoder
from .load import load_model
from .save import save_autoencoder, save_model

__all__ = ["load_autoencoder", "load_model", "save_autoencoder", "save_model"]
