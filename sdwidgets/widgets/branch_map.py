"""The map of a tree of runs: a row for each, under the step at which it leaves its parent."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from ..contract import ASKS, BRANCHES, RUN_STATES, numbered
from ..errors import InputError
from ..frontend import Code
from ..settings import Settings
from ..trace.images import encode_jpeg, preview_rgb
from ..trace.record import Record
from ..trace.reel import factors_for
from ..trace.step import TraceStep
from ..trace.thinning import evenly
from ..trace.tree import Node
from .final import jpeg
from .life import Living
from .results import contact
from .selection import FromPage, choice

ROWS = numbered("row")
"""The traits that hold the images of a run each."""

MOST = len(ROWS)
"""The most runs of a tree that a map shows."""

THUMBNAILS = BRANCHES["thumbnails"]
"""The most steps of a run that have a thumbnail."""

SMALL, LARGE = 64, 256
"""Pixels along the longer side of a thumbnail and of an image."""

FIELDS = (
    "prompt", "negative_prompt", "guidance_scale", "guidance_rescale", "sampler", "steps",
    "schedule", "clip_skip", "eta", "s_noise", "s_churn", "image_guidance_scale", "noise_level",
    "aesthetic_score", "negative_aesthetic_score",
)  # fmt: skip
"""The settings of a branch that the page has fields for."""


class BranchMap(Living, FromPage, anywidget.AnyWidget):
    """The tree of `Branches` on a page: the image on show, the form, and the rows.

    ``on_message`` gets what the page asks for, ``on_error`` the errors of that.
    """

    _esm = Code("branches.js")
    _css = Code("branches.css")

    _is_part = True

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """The model's id, by which its page asks whether the kernel is there."""

    nodes: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The runs as `entry` describes them, each after the one from which it came."""

    forming: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """The run that is being made, as `Forming` describes it; {} for none."""

    undoable = traitlets.Int(0).tag(sync=True)
    """How many runs Undo would bring back."""

    state = traitlets.Enum(RUN_STATES, "idle").tag(sync=True)
    """idle, loading, running, done, stopped or error."""

    message = traitlets.Unicode("").tag(sync=True)
    """The message about the run, or an error in up to three lines."""

    wrong = traitlets.Unicode("").tag(sync=True)
    """The setting that the error is about; "" for none."""

    selected = choice({"kind": "whole", "default": 0, "least": 0}, "the id of a run")
    """The id of the run on show."""

    at = choice({"kind": "whole", "default": -1, "least": -1}, "a step's number, or -1 for the end")
    """The step on show, before which a branch would leave; -1 is the end, with the final image."""

    view = choice({"kind": "choice", "default": "picture", "among": BRANCHES["views"]})
    """What is shown of each run: its "picture", or its "difference" to its parent's."""

    # row0 to row63 hold the images of a run each, which are sent once.
    locals().update({name: traitlets.Dict().tag(sync=True) for name in ROWS})

    def __init__(
        self,
        on_message: Callable[[dict[str, Any], Any], object],
        on_error: Callable[[Exception], object],
    ):
        super().__init__()
        self.set_trait("uid", str(self.model_id))
        self._on_message, self._on_error = on_message, on_error
        self._rows: dict[int, tuple[str, Any]] = {}  # node id -> its trait, and the trace in it
        self._begin()

    def show(self, nodes: list[Node], drafts: set[int], undoable: int) -> None:
        """Show these nodes, which are a whole tree, parents first."""
        here = {node.id for node in nodes}
        gone = [self._rows.pop(number)[0] for number in [*self._rows] if number not in here]
        free = [name for name in ROWS if name not in {used for used, _ in self._rows.values()}]
        with self.hold_sync():
            for name in gone:
                setattr(self, name, {})
            for node in nodes:
                used, trace = self._rows.get(node.id, (None, None))
                if trace is node.trace:
                    continue
                name = free.pop(0) if used is None else used
                self._rows[node.id] = name, node.trace
                setattr(self, name, pictures(node))
            self.nodes = [
                {**entry(node), "row": self._rows[node.id][0], "draft": node.id in drafts}
                for node in nodes
            ]
            self.undoable = undoable
            if self.selected not in here:
                self.selected, self.at = nodes[0].id, -1

    def _receive(self, message: Any, buffers: Any) -> None:
        """Pass on what a page asks for; anything else is ignored."""
        kind = message.get("kind") if isinstance(message, dict) else None
        if isinstance(kind, str) and kind in ASKS["branches"]:
            self._on_message(message, buffers)

    def _complain(self, error: Exception) -> None:
        self._on_error(error)


# ------------------------------------------------------------------------------- a run for the page


def entry(node: Node) -> dict[str, Any]:
    """A run of the tree as the page shows it, without its images.

    ``kept``: the steps before which it can be branched; ``edits``: why it cannot be edited, or "".
    """
    trace, difference = node.trace, node.difference
    settings = trace.settings
    words = [] if not trace.tokens else [word.text for word in trace.tokens[0].words]
    return {
        "id": node.id,
        "parent": None if node.parent is None else node.parent.id,
        "how": node.how,
        "step": node.step,
        "steps": max(node.steps, 1),
        "name": node.name,
        "changes": node.changes,
        "cost": node.cost,
        "difference": None if difference is None else round(difference, 4),
        "prompt": trace.prompt,
        "seed": settings.seeds[0] if settings.seed is not None else None,
        "words": list(dict.fromkeys(words)),
        "settings": {name: _plain(settings, name) for name in FIELDS},
        "kept": _kept(trace),
        "edits": _why_no_edit(node),
    }


def _plain(settings: Settings, name: str) -> Any:
    """The value of a setting for a field; None for those of a batch."""
    value = getattr(settings, name)
    return None if isinstance(value, (tuple, list)) else value


def _kept(trace: Record) -> list[int]:
    """The steps before which a run can be branched."""
    if not trace.task or trace.settings.seed is None or trace.settings.hires is not None:
        return []
    kept = {step.index for step in trace.steps}
    kept |= {index + 1 for index in kept if index + 1 < trace.expected} | {0}
    return sorted(kept)


def _why_no_edit(node: Node) -> str:
    """Why a run cannot be edited, in words; "" if it can."""
    if not node.trace.task:
        return "This run does not say how it began."
    if node.how in ("branch", "edit"):
        return "Only a run of its own can be edited: choose the first."
    if node.trace.settings.refiner_start is not None:
        return "A refiner made its last steps: edit it from Python."
    return ""


def pictures(node: Node) -> dict[str, Any]:
    """The images of a run: the final one, how far it is from the parent's, and its own steps."""
    trace = node.trace
    own = [step for step in trace.steps if step.index >= node.step]
    chosen = [own[place] for place in evenly(len(own), THUMBNAILS)] if own else []
    return {
        "image": jpeg(contact(trace.images[:4]), LARGE) if trace.images else b"",
        "difference": _difference(node),
        "steps": [step.index for step in chosen],
        "thumbnails": [thumbnail(step, trace) for step in chosen],
    }


def thumbnail(step: TraceStep, trace: Record, side: int = SMALL) -> bytes:
    """A JPEG of the image that a step predicts; of a batch, of the first."""
    factors = factors_for(step.denoised.shape[1]) if trace.factors is None else trace.factors
    image = Image.fromarray(preview_rgb(step.denoised[:1], factors)[0])
    by = side / max(image.size)
    size = round(image.width * by) or 1, round(image.height * by) or 1
    return encode_jpeg(image.resize(size, Image.Resampling.BICUBIC), quality=80)


def _difference(node: Node) -> bytes:
    """A PNG in grey of how far an image is from its parent's, white at the farthest; b"" if there
    is none."""
    values = node.difference_map()
    if values is None:
        return b""
    levels = (values * (255 / max(float(values.max()), 1 / 255))).astype(np.uint8)
    image = Image.fromarray(levels)
    image.thumbnail((LARGE // 2, LARGE // 2))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def check_room(count: int) -> None:
    """Raise InputError if a map cannot show so many runs."""
    if count > MOST:
        raise InputError(
            f"A tree of {count} runs is too large for the widget, which shows at most {MOST}.\n"
            "Prune some of them.",
            parameter="tree",
        )
