"""The autoencoders that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

from .. import checks
from ..configs import AutoencoderConfig
from . import config_json
from .weights import read_json

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"

ZOO = (
    "KL-f2",
    "KL-f4",
    "KL-f8",
    "KL-f16",
    "KL-f32",
    "VQ-f2",
    "VQ-f4",
    "VQ-f8",
    "VQ-f16",
    "VQ-f32",
)
"""Possible names of autoencoders trained on the emoji scenes; see `bundled_autoencoders`."""

MODEL = "emoji"
"""The name of the bundled model, and of its own autoencoder."""


MODELS = (
    MODEL,
    "emoji-class",
    "emoji-layout",
    "emoji-map",
    "emoji-upscale",
    "emoji-inpaint",
    "emoji-neighbours",
    "emoji-pixels",
)
"""Possible names of models trained on the emoji scenes; see `bundled_models`."""


def bundled_models() -> tuple[str, ...]:
    """The names of the bundled models that are installed; the default one first."""
    return tuple(name for name in MODELS if (WEIGHTS / name).is_dir())


def model_folder(name: object) -> Path | None:
    """Return the folder of a bundled model; None if there is none of that name."""
    return WEIGHTS / name if isinstance(name, str) and name in bundled_models() else None


def bundled_autoencoders() -> tuple[str, ...]:
    """The names of the bundled autoencoders: KL first, by ascending f; the model's own last."""
    return tuple(name for name in (*ZOO, MODEL) if (_folder(name) / "config.json").is_file())


def bundled_folder(name: object) -> Path | None:
    """Return the folder of a bundled autoencoder; None if there is none of that name."""
    return _folder(name) if isinstance(name, str) and name in bundled_autoencoders() else None


def bundled_config(name: str) -> AutoencoderConfig:
    """The config of a bundled autoencoder, without its weights. Raises InputError."""
    checks.choice("name", name, bundled_autoencoders())
    path = _folder(name) / "config.json"
    return config_json.autoencoder_from_json(read_json(path), str(path))


def _folder(name: str) -> Path:
    return WEIGHTS / "emoji" / "vae" if name == MODEL else WEIGHTS / "zoo" / name.lower()
