"""sdwidgets: watch a latent diffusion model turn a prompt into an image, live, in a notebook.

    import sdwidgets as sdw

    sdw.Studio()                                     # the whole thing, in a notebook
    model = sdw.load()                               # the bundled model: no download, no GPU
    trace = model.generate("a cat left of a car")    # trace.image, .steps, .heat_map("cat")
    for step in model.sample("a cat"): ...           # the same, a step at a time

Importing this package imports neither torch nor ipywidgets: names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .imports import quick_imports
from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import guides
    from .checkpoints import Description, inspect, load_autoencoder, save_autoencoder
    from .checkpoints import load_model as load
    from .checkpoints import save_model as save
    from .checkpoints.clip import load_clip
    from .checkpoints.controlnet import load_control
    from .control import Control
    from .diffusion import NoiseSchedule, Step
    from .errors import (
        Busy,
        CheckpointError,
        CheckpointNotFound,
        DeviceLost,
        HubError,
        ImageError,
        InputError,
        NumericsError,
        OutOfMemory,
        SDWidgetsError,
        Stopped,
    )
    from .manager import ModelManager, Request
    from .neighbours import Neighbours
    from .pipeline import Conditioning, LatentDiffusion
    from .preferences import options
    from .settings import AttentionSettings, Settings
    from .trace import Recipe, Trace, TraceStep, Tree, read_settings
    from .widgets import (
        Attention,
        Boxes,
        Branches,
        Compare,
        Denoising,
        Lab,
        LabelMap,
        Painter,
        PictureView,
        Studio,
        Sweep,
        Tokens,
        TrainingView,
        Viewer,
        Walk,
        connect,
        link,
    )

# public name -> (module, its name there)
_PUBLIC = {
    "Studio": ("widgets", "Studio"),
    "Viewer": ("widgets", "Viewer"),
    "Denoising": ("widgets", "Denoising"),
    "Attention": ("widgets", "Attention"),
    "Tokens": ("widgets", "Tokens"),
    "Compare": ("widgets", "Compare"),
    "Sweep": ("widgets", "Sweep"),
    "Branches": ("widgets", "Branches"),
    "link": ("widgets", "link"),
    "connect": ("widgets", "connect"),
    "Lab": ("widgets", "Lab"),
    "Painter": ("widgets", "Painter"),
    "Boxes": ("widgets", "Boxes"),
    "LabelMap": ("widgets", "LabelMap"),
    "Walk": ("widgets", "Walk"),
    "PictureView": ("widgets", "PictureView"),
    "TrainingView": ("widgets", "TrainingView"),
    "load": ("checkpoints", "load_model"),
    "save": ("checkpoints", "save_model"),
    "inspect": ("checkpoints", "inspect"),
    "Description": ("checkpoints", "Description"),
    "load_autoencoder": ("checkpoints", "load_autoencoder"),
    "save_autoencoder": ("checkpoints", "save_autoencoder"),
    "load_clip": ("checkpoints.clip", "load_clip"),
    "load_control": ("checkpoints.controlnet", "load_control"),
    "Control": ("control", "Control"),
    "Neighbours": ("neighbours", "Neighbours"),
    "guides": ("guides", "guides"),
    "LatentDiffusion": ("pipeline", "LatentDiffusion"),
    "Conditioning": ("pipeline", "Conditioning"),
    "Settings": ("settings", "Settings"),
    "AttentionSettings": ("settings", "AttentionSettings"),
    "read_settings": ("trace", "read_settings"),
    "options": ("preferences", "options"),
    "NoiseSchedule": ("diffusion", "NoiseSchedule"),
    "Step": ("diffusion", "Step"),
    "Trace": ("trace", "Trace"),
    "TraceStep": ("trace", "TraceStep"),
    "Tree": ("trace", "Tree"),
    "Recipe": ("trace", "Recipe"),
    "ModelManager": ("manager", "ModelManager"),
    "Request": ("manager", "Request"),
    "SDWidgetsError": ("errors", "SDWidgetsError"),
    "InputError": ("errors", "InputError"),
    "ImageError": ("errors", "ImageError"),
    "CheckpointError": ("errors", "CheckpointError"),
    "CheckpointNotFound": ("errors", "CheckpointNotFound"),
    "DeviceLost": ("errors", "DeviceLost"),
    "HubError": ("errors", "HubError"),
    "OutOfMemory": ("errors", "OutOfMemory"),
    "NumericsError": ("errors", "NumericsError"),
    "Stopped": ("errors", "Stopped"),
    "Busy": ("errors", "Busy"),
}

__all__ = [  # noqa: RUF022 (what a user types first comes first)
    "Studio",
    "Viewer",
    "Denoising",
    "Attention",
    "Tokens",
    "Compare",
    "Sweep",
    "Branches",
    "link",
    "connect",
    "Lab",
    "Painter",
    "Boxes",
    "LabelMap",
    "Walk",
    "PictureView",
    "TrainingView",
    "load",
    "save",
    "inspect",
    "Description",
    "load_autoencoder",
    "save_autoencoder",
    "load_clip",
    "load_control",
    "Control",
    "Neighbours",
    "guides",
    "LatentDiffusion",
    "Conditioning",
    "Settings",
    "AttentionSettings",
    "read_settings",
    "options",
    "NoiseSchedule",
    "Step",
    "Trace",
    "TraceStep",
    "Tree",
    "Recipe",
    "ModelManager",
    "Request",
    "SDWidgetsError",
    "InputError",
    "ImageError",
    "CheckpointError",
    "CheckpointNotFound",
    "DeviceLost",
    "HubError",
    "OutOfMemory",
    "NumericsError",
    "Stopped",
    "Busy",
]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    with quick_imports():
        value = getattr(import_module(f".{module}", __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
