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

NUMBERED = {"frame": 64, "more": 64, "film": 6, "grid": 24, "row": 64, "still": 128}
"""Numbered traits, and how many there are of each: frame0 to frame63 hold a step each, more0 to
more63 the parts of a step that only an opened Studio needs, film0 to film5 a compared run, grid0 to
grid23 the images that a training made at a step, row0 to row63 those of a run in a tree,
still0 to still127 the frames of a walk."""

HEADER_VERSION = 1
"""The ``v`` of a run's data beside its steps."""

PARTS = ("x", "denoised", "uncond", "difference", "attention", "control")
"""The parts of a frame, in this order: latents, the attention of each layer, and what controls add
at each level."""

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

EXPORT_LIMITS = {"run": 12000000, "image": 2000000, "title": 200}
"""The limits of an exported page: bytes of all steps together, of which larger runs have the
latents and maps averaged down; bytes of an image, of which larger ones become JPEGs; characters of
the title."""

PAGE = {
    "document": """\
<!doctype html>
<html lang="en" class="sdw-exported">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header class="sdw sdw-page">
<h1 dir="auto">{heading}</h1>
<p>{summary}</p>
</header>
<main id="{root}">
<noscript>
{still}
</noscript>
</main>
<footer class="sdw sdw-page">
{absent}<h2>Settings</h2>
<dl>
{about}
</dl>
</footer>
<script type="application/json" id="{place}">{data}</script>
<script type="module">{script}</script>
</body>
</html>
""",
    "policy": (
        "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'"
    ),
    "absent": (
        "<p>Attention was not recorded: a run with <code>attention=True</code> shows it.</p>\n"
    ),
}
"""An exported page, to be filled in: its HTML, the policy that allows its one script by its digest,
and what stands in it where attention was not recorded."""

# ------------------------------------------------------------------------------------ recorded runs

RECORD = {
    "format": 1,
    "file": 1000000000,
    "header": 16777216,
    "tensors": 150000,
    "values": 2000000,
    "memory": 4000000000,
    "steps": 10000,
    "pieces": 1000,
    "layers": 200000,
    "side": 4096,
    "sigma": 1000000,
    "cells": 32,
}
"""The format of recorded runs (`trace.file`) and its limits: bytes of a file and of its header,
tensors, values in the header's JSON, bytes of all arrays and images, steps, pieces of a prompt
(also slots, heads and channels), layers of all steps together, cells along a side, the highest
noise level, cells along the longer side of an 8-bit map."""

PRECISIONS = ("8-bit", "float16")
"""The precisions in which a record may keep attention."""

LATENTS = ("x", "denoised", "uncond", "difference", "x_next")
"""The latents of a recorded step."""

MAPS = ("cross", "uncond", "control")
"""What is recorded as maps: attention, a map for each token; and what controls add, one for each
level."""

KINDS = {
    "cross": "attention.cross",
    "uncond": "attention.uncond",
    "cells": "attention.cells",
    "queries": "attention.queries",
    "control": "control",
}
"""What a step records by layer, and the name of that part of a recorded step: kinds of attention,
and what controls add."""

PARENT = {"depth": 16, "text": 1000000, "step": 10000}
"""The limits of the parents in a record's JSON: how many, each the parent of the one before;
characters of all together; first steps that a branch shares with its parent."""

MOST_CONTROLS = 8
"""The most controls of a run."""

CONTROL_STRENGTH = (0, 10)
"""The lowest and the highest factor of what a control adds."""

IMAGE_MODES = ("L", "RGB", "RGBA")
"""The modes of the images in a record."""

LONGEST_SIDE = 64
"""Cells along the longer side of the latents and maps of a frame; more are averaged down."""

LARGEST_FRAME = 2000000
"""The most bytes sent of a step; larger steps are averaged down."""

DEFAULT_RECIPE = {"places": ("down", "up"), "cells": 384, "steps": (0.8, 1.0)}
"""The layers and steps of a heat map by default, as in `trace.recipe.DEFAULT`."""

SD1_PREVIEW = (
    (0.298, 0.207, 0.208),
    (0.187, 0.286, 0.173),
    (-0.158, 0.189, 0.264),
    (-0.184, -0.271, -0.473),
    (0, 0, 0),
)
"""The preview factors of Stable Diffusion 1, as in `trace.images`."""

SOURCES = {"most": 64, "name": 512, "strength": 1000000}
"""The limits of a model's sources, as in `sources`: how many, characters of a name, the greatest
strength."""

MOST_PIXELS = 40000000
"""The most pixels of an image, as in `pictures.MAX_PIXELS`."""

TEXT_KEY = "sdwidgets"
"""The keyword of the text in a PNG file that has the settings."""

# -------------------------------------------------------------------------------- a run's settings

SETTINGS_FORMAT = 4
"""The format of the settings that are written today, as in `trace.older`."""

SETTINGS_LIMITS = {
    "steps": (1, 1000),
    "guidance_scale": (0, 100),
    "guidance_rescale": (0, 1),
    "seed": (0, 4294967295),
    "width": (1, 4096),
    "height": (1, 4096),
    "batch_size": (1, 64),
    "strength": (0, 1),
    "image_guidance_scale": (1, 100),
    "noise_level": (0, 999),
    "aesthetic_score": (0, 10),
    "negative_aesthetic_score": (0, 10),
    "clip_skip": (0, 31),
    "chunks": (1, 10),
    "start_step": (0, 999),
    "end_step": (1, 1000),
    "hires": (1, 4),
    "hires_strength": (0, 1),
    "hires_steps": (1, 1000),
    "window": (1, 4096),
    "refiner_start": (0, 1),
    "guide_scale": (0, 10000),
    "eta": (0, 1),
    "s_noise": (0, 2),
    "s_churn": (0, 100),
}
"""The lowest and the highest value of each number among the settings, as in `settings.LIMITS`."""

LONGEST_PROMPT = 100000
"""Characters of a prompt."""

CLASSES = {"boxes": 100, "name": 200, "number": 1000000}
"""The limits of what names classes: boxes of an image, characters of a name, a class's number."""

MOST_NEIGHBOURS = 64
"""Images that a run may be given as neighbours."""

LARGEST_SIDE = 100000
"""Pixels along a side of an image that a model is told of."""

SAMPLERS = {
    "dpmpp_2m": (),
    "euler": ("s_churn", "s_noise"),
    "euler_ancestral": ("eta", "s_noise"),
    "heun": ("s_churn", "s_noise"),
    "unipc": (),
    "dpmpp_2m_sde": ("eta", "s_noise"),
    "dpmpp_3m_sde": ("eta", "s_noise"),
    "dpmpp_sde": ("eta", "s_noise"),
    "dpmpp_2s_ancestral": ("eta", "s_noise"),
    "dpm2": ("s_churn", "s_noise"),
    "dpm2_ancestral": ("eta", "s_noise"),
    "lms": (),
    "ddim": ("eta",),
    "ddpm": ("eta",),
    "plms": (),
    "lcm": (),
    "tcd": ("eta",),
}
"""The samplers, and the names of the options of each, as in `sampling.OPTIONS`."""

OPTIONS = {"eta": 0, "s_noise": 1, "s_churn": 0}
"""The options that some sampler has, each with the value that changes nothing."""

HIRES_METHODS = ("latents", "pixels")
"""What is enlarged between two passes."""

SCHEDULES = (
    "default",
    "karras",
    "exponential",
    "simple",
    "sgm_uniform",
    "beta",
    "uniform",
    "trailing",
    "ddim",
    "dpmsolver",
    "config",
)
"""The noise grids, as in `sampling.SCHEDULES`."""

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

WEIGHTS = ("mean", "plain", "none")
"""What brackets in prompts do, as in `prompts.WEIGHTS`."""

FITS = ("crop", "pad", "stretch")
"""How a start image of another shape is fitted to the run's, as in `settings.FITS`."""

DEFAULTS = {
    "prompt": "",
    "negative_prompt": "",
    "weights": "mean",
    "clip_skip": 0,
    "chunks": 10,
    "schedule": "default",
    "start_step": 0,
    "guidance_rescale": 0.0,
    "batch_size": 1,
    "strength": 0.8,
    "fit": "crop",
    "hires_strength": 0.6,
    "hires_method": "latents",
    "guide_scale": 1.0,
}
"""The defaults of `settings.Settings`, which notebook cells leave out."""

SYSTEMS: Mapping[str, str] = {
    "emoji scenes": "emoji",
    "emoji, by class": "emoji-class",
    "emoji, by boxes": "emoji-layout",
    "emoji, by label map": "emoji-map",
    "emoji, four times as large": "emoji-upscale",
    "emoji, inpainting": "emoji-inpaint",
    "emoji, by neighbours": "emoji-neighbours",
    "emoji, in pixels": "emoji-pixels",
}
"""The bundled models: what records call each, and the name by which it is loaded. The first is the
default one."""

BUNDLED: Mapping[str, Any] = {
    "fingerprint": "6408c26c12dedd1741ccd3d97ac40618f9f96379b0e78698863a4bc230891d06",
    "settings": {
        "steps": 20,
        "sampler": "dpmpp_2m",
        "schedule": "trailing",
        "guidance_scale": 3.0,
        "width": 128,
        "height": 128,
    },
}
"""The default model: its fingerprint, and the settings that it fills in."""

PANELS = ("denoising", "attention", "tokens", "control")
"""The panels of a viewer."""

BRANCHES: Mapping[str, Any] = {"views": ("picture", "difference"), "thumbnails": 16, "name": 100}
"""The tree of runs: what is shown of each, the most steps of a run that have a thumbnail, and the
characters of a run's name."""

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

SWEEP_STATES = (
    "idle",
    "running",
    "pausing",
    "paused",
    "stopping",
    "done",
    "stopped",
    "error",
)
"""The states of a sweep."""

CELL_STATES = ("waiting", "running", "done", "failed")
"""The states of a sweep's points, each a byte of the trait ``cells``."""

SWEEP_SAYS = {
    "hello": (),
    "news": ("images", "running"),
    "point": ("index", "about", "made", "error", "scores", "type", "studio", "whole"),
    "file": ("name", "type"),
    "told": ("message",),
}
"""What the kernel says of a sweep, and the fields of each kind. ``news``: the points whose images
are in the buffers, JPEGs; ``running`` has [point, steps done, steps] of each that runs. ``point``:
everything about one, with its image as the buffer if it has one: its settings in words, its record,
up to three lines of an error, a number for each score, whether a Studio is open and whether its
steps are kept. ``file``: a file to save. ``told``: what came of a request, in words."""

SWEEP_LIMITS = {"asked": 64, "saved": 200000, "error": 600, "label": 200}
"""The most images in an answer to a page, bytes of all images in the saved state, characters of an
error and of a label."""

ASKS = {
    "viewer": ("frames",),
    "picture": ("hello", "ping"),
    "studio": ("generate", "stop"),
    "start": (
        "file",
        "take",
        "restore",
        "dismiss",
        "drop",
        "set",
        "settings",
        "unmask",
        "paint",
        "last",
        "word",
        "change",
    ),
    "more": ("set",),
    "low_res": ("file", "drop", "last"),
    "neighbours": ("file", "use", "drop", "last", "off"),
    "history": ("recall", "pin", "delete", "use", "compare", "open"),
    "training": ("hello", "pause", "resume", "stop"),
    "lab": ("file", "sample", "edit", "touch", "undo", "redo", "reset", "swap", "send"),
    "branches": (
        "grow",
        "edit",
        "cost",
        "stop",
        "keep",
        "prune",
        "undo",
        "rename",
        "compare",
        "apart",
        "save",
        "file",
    ),
    "painter": ("file", "mask", "undo", "redo", "pad", "threshold", "settle", "drop", "image"),
    "label_map": ("file", "map", "undo", "redo", "drop", "image"),
    "boxes": ("file", "boxes", "undo", "redo", "drop", "image"),
    "walk": ("hello", "ping", "start", "stop", "save"),
    "sweep": (
        "hello",
        "start",
        "pause",
        "resume",
        "stop",
        "look",
        "open",
        "compare",
        "apart",
        "use",
        "table",
        "sheet",
    ),
}
"""The kinds of messages that a page sends to the kernel."""

# ----------------------------------------------------------------------------------------- walks

WALK: Mapping[str, Any] = {
    "bytes": 3000000,
    "still": 150000,
    "fps": (1, 30),
    "endings": (".webp", ".gif", ".mp4"),
}
"""The most bytes of all images of a walk in the saved state, and of each; frames a second; the
animations that a page may ask for."""

# ---------------------------------------------------------------------------- the side panel

SIDE = {"target": "sdwidgets.manager", "v": 1}
"""The name of the comm target between JupyterLab's side panel and the default manager of a kernel,
and the version of its messages. When that manager first comes to be, the kernel registers the
target and opens a comm of that name, the announcement, with the data {v, version}. It stays open,
so comm_info_request lists it. A page opens a comm of its own, with the data {v, version}; that is
its first hello, and it says nothing before the welcome (ipykernel warns in the notebook of messages
that overtake the opening). Each message is data with its ``kind``. Both sides ignore kinds and
fields that they do not know. A page says hello or watch at least every ``SIDE_EVERY.alive``; the
kernel closes comms that have been silent for long, and a page whose comm was closed opens another
while the kernel lives."""

SIDE_CONNECT = "import sdwidgets; sdwidgets.connect()"
"""The code that makes the default manager, and so the announcement, in a kernel without: to be
executed silently. It imports no torch and returns at once. Where the package is missing, the reply
is an error with the name ModuleNotFoundError."""

SIDE_ASKS = {
    "hello": ("v", "version"),
    "watch": ("visible",),
    "models": ("folders",),
    "load": ("name",),
    "unload": ("name",),
    "stop": ("job",),
    "move": ("job", "to"),
    "image": ("id",),
}
"""What a page says, and the fields of each kind. ``hello``: is answered with welcome, jobs and
images, which are sent again when they change. ``watch``: whether memory is to be sent. ``models``:
send the models, and look into these folders, too (absolute or "~/..."); said again, it looks again.
``load``, ``unload``: a model by its ``name``. ``stop``: a job by its id, or with null or nothing
the job that runs. ``move``: a job that waits to that place of the queue, 0 for the next. ``image``:
the file of an image by its id."""

SIDE_SAYS = {
    "welcome": ("v", "version", "device"),
    "jobs": ("jobs",),
    "models": ("models", "done"),
    "memory": ("device", "name", "total", "free", "process"),
    "images": ("images",),
    "image": ("id",),
    "refused": ("about", "message"),
}
"""What the kernel says, and the fields of each kind. ``welcome``: ``device`` is that of the loaded
models, "cpu", "cuda:0" or "mps"; "" as long as that is not known. ``jobs``: each as `SIDE_JOB`:
first the last ones that ended, oldest first, then the job that runs, then those that wait.
``models``: each as `SIDE_MODEL`; ``done`` is false while more is found out. ``memory``: of the
device on which models are, else of the machine, in bytes: ``total`` and ``free``, and what this
``process`` takes; null where it is not known. ``name``: the device's, for people. ``images``: each
as `SIDE_IMAGE`, the newest last, with as many buffers: a JPEG of each. ``image``: with a single
buffer, the PNG with its settings inside. ``refused``: what a page said, by its kind, cannot be
done; ``message`` is for people."""

SIDE_JOB = (
    "id",
    "model",
    "prompt",
    "state",
    "message",
    "step",
    "steps",
    "seconds",
    "eta",
    "ahead",
)
"""The fields of a job. ``id``: a number. ``model``: its name for people. ``prompt``: null if the
job only loads a model. ``state``: one of `JOB_STATES`. ``message``: what it is doing or how it
ended, or "". ``step``: how many of its ``steps`` are done; both 0 before it runs. ``seconds``:
since it began to run; ``eta``: until its end; each null where it is not known. ``ahead``: how many
jobs come before it."""

JOB_STATES = ("queued", "loading", "running", "done", "stopped", "error")
"""The states of a job. The last three are final."""

SIDE_MODEL = ("name", "title", "place", "what", "bytes", "state", "why")
"""The fields of a model. ``name``: what load and unload take; it may be a path, and is not shown.
``title``: the name for people. ``place``: one of `MODEL_PLACES`. ``what``: what it is, in words, or
"". ``bytes``: of its weights, or null. ``state``: one of `MODEL_STATES`. ``why``: why it is
refused, how a part is used, why loading it failed, or ""."""

MODEL_PLACES = ("bundled", "hub", "folder", "memory")
"""Where a model is: in the package, in the hub's cache, in one of the folders, or in memory
alone."""

MODEL_STATES = ("reading", "found", "part", "refused", "loading", "loaded")
"""The states of a model: its headers are being read, it can be loaded, it is no model but used with
one, it cannot be loaded, it is being loaded, it is in memory."""

SIDE_IMAGE = ("id", "prompt", "name", "model", "seed", "width", "height", "settings")
"""The fields of an image. ``id``: a number. ``name``: the name of the model that made it, as in
`SIDE_MODEL`. ``model``: that for people. ``seed``: null if it is not known. ``width``, ``height``:
in pixels. ``settings``: the record that its PNG has inside."""

SIDE_EVERY = {"jobs": 100, "models": 250, "images": 250, "memory": 2000, "alive": 60000}
"""The least milliseconds between two messages of a kind (the last is always sent); ``memory``:
between all, while it is watched; ``alive``: the most between two of a page."""

SIDE_LIMITS = {
    "images": 24,
    "thumbnail": 160,
    "models": 1000,
    "folders": 32,
    "jobs": 200,
    "ended": 4,
    "text": 2000,
}
"""The most images, pixels along the longer side of their JPEGs, models, folders, jobs, jobs among
them that have ended, and characters of a text."""

BEGINNING: Mapping[str, Any] = {"cells": 48, "scale": 1 / 32, "zero": 128}
"""The previews of a start image and of the noise on it: the most cells along a side, and how their
bytes stand for red, green and blue: ``(byte - zero) * scale``."""

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

# ------------------------------------------------------------------------------------- the painter

PAINTER: Mapping[str, Any] = {
    "how": ("replace", "add", "subtract"),
    "saved": 1024,
    "bytes": 1500000,
    "band": 4194304,
    "undo": 100,
    "history": 64000000,
    "pad": 2048,
    "feather": 200,
    "brush": 1000,
}
"""What a map does to the mask that is there. Pixels along the longer side of the image that is
saved, and the most of its bytes; pixels of a mask in a message; changes that can be undone, and the
bytes of all of them; pixels of new area on a side; pixels of a feathered edge, and across the
brush."""


BOXES: Mapping[str, Any] = {"most": 30, "undo": 100, "least": 0.01, "digits": 3}
"""The most boxes, if nothing else is said; changes that can be undone; the shortest side of a box
that is drawn, in fractions of the image; and the decimals of its corners."""


def numbered(name: str) -> tuple[str, ...]:
    """Return the names of all traits of a kind in `NUMBERED`: frame0, frame1, ..."""
    return tuple(f"{name}{i}" for i in range(NUMBERED[name]))
