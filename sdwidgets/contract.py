"""The names, limits and formats that the kernel and the page share.

js/contract.py writes them to js/src/lib/contract.ts with every build of the front end: each
constant that has a docstring, and the docstring. Everything here is plain data. Nothing of the
package is imported, since the build reads this file alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Spec = Mapping[str, Any]

# -------------------------------------------------------------------------------- a run's bytes

NUMBERED = {"frame": 64, "more": 64, "film": 6, "grid": 24}
"""Numbered traits, and how many there are of each: frame0 to frame63 hold a step each, more0 to
more63 the parts of a step that only an opened Studio needs, film0 to film5 a compared run, grid0 to
grid23 the images that a training made at a step."""

HEADER_VERSION = 1
"""The ``v`` of a run's data beside its steps."""

PARTS = ("x", "denoised", "uncond", "difference", "attention")
"""The parts of a frame, in this order: latents, and the attention of each layer."""

PLACES = ("down", "mid", "up")
"""The places of a layer in the network."""

AGAINST = ("none", "words")
"""What a heat map is relative to: nothing, or all words of the prompt together."""

SPECIAL = ("<start>", "<end>", "<padding>")
"""The names of the tokens that do not belong to a word."""

IMAGE_TYPES = ("image/png", "image/jpeg")
"""The types of image files."""

LIMITS = {
    "batch": 256,
    "channels": 1024,
    "side": 4096,
    "tokens": 4096,
    "layers": 256,
    "pixels": 32768,
    "text": 100000,
    "json": 65536,
}
"""The limits of what a page reads: images of a run, channels and cells along a side of its latents,
tokens, layers, pixels along a side of an image, characters of a text, bytes of a frame's JSON."""

EXPORTED = {"root": "sdw", "data": "sdw-data", "bytes": "$bytes"}
"""Names in an exported page: the ids of the element to draw into and of the data, and the key of
bytes in base64 in the data."""

# ------------------------------------------------------------------------------- what is chosen

SELECTION: Mapping[str, Spec] = {
    "step": {"kind": "whole", "default": -1, "least": -1},
    "word": {"kind": "text", "default": "", "longest": 1000},
    "other": {"kind": "text", "default": "", "longest": 1000},
    "layer": {"kind": "whole", "default": -1, "least": -1},
    "span": {"kind": "choice", "default": "run", "among": ("run", "step")},
    "guidance": {"kind": "real", "default": None, "least": -100, "most": 100},
    "picture": {"kind": "whole", "default": 0, "least": 0},
    "view": {
        "kind": "choice",
        "default": "picture",
        "among": ("picture", "clean", "noisy", "change"),
    },
    "opacity": {"kind": "real", "default": 0.6, "least": 0, "most": 1},
    "colormap": {"kind": "choice", "default": "magma", "among": ("magma", "viridis", "grey")},
    "contour": {"kind": "flag", "default": False},
}
"""The traits of all viewers that a page may set; `widgets.selection.Selections` documents them.
Numbers whose default is None may be None."""

LAB_SELECTION: Mapping[str, Spec] = {
    "panel": {
        "kind": "choice",
        "default": "latents",
        "among": ("latents", "play", "between", "noise"),
    },
    "side": {"kind": "choice", "default": 128, "among": (64, 128, 256)},
    "view": {"kind": "choice", "default": "rebuilt", "among": ("rebuilt", "error", "slider")},
}
"""The traits of the lab that a page may set, beside the autoencoders shown."""

FITS = ("crop", "pad", "stretch")
"""How a start image of another shape is fitted to the run's, as in `settings.FITS`."""

PANELS = ("denoising", "attention", "tokens")
"""The panels of a viewer."""

# ------------------------------------------------------------------------------- states, messages

RUN_STATES = ("idle", "loading", "running", "done", "stopped", "error")
"""The states of a run in a viewer."""

TRAINING_STATES = (
    "idle",
    "running",
    "pausing",
    "paused",
    "stopping",
    "done",
    "stopped",
    "error",
)
"""The states of a training."""

LAB_STATES = ("idle", "working", "error")
"""The states of the lab."""

ASKS = {
    "viewer": ("frames",),
    "picture": ("hello", "ping"),
    "studio": ("generate", "stop"),
    "start": ("file", "take", "restore", "dismiss", "drop", "set"),
    "history": ("recall", "pin", "delete", "use", "compare", "open"),
    "training": ("hello", "pause", "resume", "stop"),
    "lab": ("file", "sample", "edit", "touch", "undo", "redo", "reset", "swap", "send"),
}
"""The kinds of messages that a page sends to the kernel."""

# ----------------------------------------------------------------------------------------- the lab

UPLOAD = {"largest": 16777216, "part": 1048576}
"""The most bytes of a file, and of each part in which it is sent, since some servers cut longer
messages."""

MOST_AUTOENCODERS = 4
"""The most autoencoders side by side."""

EDITS = ("knock", "scale", "noise", "shift", "flip", "paint", "walk")
"""The types of edits of latents."""

ALL_CHANNELS = -1
"""The value of a channel that stands for all of them."""

EDIT_LIMIT = 4
"""The largest factor of a scaling, value of a painting and amount of a walk, up or down."""

PAINT_MODES = ("set", "add")
"""The modes of painting."""

TOUCHED = ("cell", "pixel")
"""What a person may point at: a latent cell or a pixel of the image."""

NOISE_LEVELS = 21
"""The noise levels at which an image is shown."""


def numbered(name: str) -> tuple[str, ...]:
    """Return the names of all traits of a kind in `NUMBERED`: frame0, frame1, ..."""
    return tuple(f"{name}{i}" for i in range(NUMBERED[name]))
