"""Recorded steps that stay packed, as in the file, until they are asked for.

All tensors are checked when a record is loaded; latents and maps are made when they are used, and
the last ones used are kept.
"""

from __future__ import annotations

import io
import math
import reprlib
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..contract import IMAGE_MODES, KINDS, LATENTS, RECORD
from ..pictures import MAX_PIXELS
from . import checked
from .packing import Grid, Grids, block, deviation
from .step import SIGMA_LIMIT, Queries, StepAttention, TraceStep

T = TypeVar("T")

MEMORY_LIMIT = RECORD["memory"]
"""Bytes that the arrays and images of a record may take."""
KEPT = 128 * 2**20
"""Bytes of arrays that a loaded record keeps in memory beside its packed tensors."""
STEP_LIMIT = RECORD["steps"]
DRAW_LIMIT = 100 * STEP_LIMIT
PIECE_LIMIT = RECORD["pieces"]  # of a prompt; also slots, heads, channels

_PARTS = {*LATENTS, *KINDS.values()}
_OBJECT = 200  # bytes of an array beside its values


@dataclass(frozen=True)
class StepInfo:
    """What the JSON says about one step."""

    index: int
    sigma: float
    sigma_next: float
    seconds: float | None
    parts: tuple[str, ...]
    draws: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> StepInfo:
        """The step of an entry in the JSON. ValueError if anything is missing or beyond limits."""
        parts = checked.texts(given, "parts", len(_PARTS))
        if not {"x", "denoised"} <= set(parts) <= _PARTS:
            raise ValueError(f"parts of a step are {reprlib.repr(parts)}")
        return cls(
            index=checked.whole(given, "index", 0, STEP_LIMIT - 1),
            sigma=checked.real(given, "sigma", SIGMA_LIMIT),
            sigma_next=checked.real(given, "sigma_next", SIGMA_LIMIT),
            seconds=checked.seconds(given, "seconds"),
            parts=parts,
            draws=_draws(given),
        )


def _draws(given: Mapping[str, Any]) -> int | None:
    """See `TraceStep.draws`; None in files from before it was kept."""
    return None if given.get("draws") is None else checked.whole(given, "draws", 0, DRAW_LIMIT)


@dataclass
class Room:
    """The bytes that what is read may still take, of one record or of several together."""

    left: int = MEMORY_LIMIT

    def take(self, size: int) -> None:
        """Count bytes that may be allocated; ValueError beyond the limit."""
        self.left -= size
        if self.left < 0:
            raise ValueError(f"it would take more than {MEMORY_LIMIT / 1e9:g} GB of memory")


@dataclass(eq=False)
class Tensors:
    """The tensors of a file as arrays and images.

    `check` and `image` come first: they refuse with ValueError what is not as it should be, and all
    together may take `MEMORY_LIMIT`. The other methods are for tensors that were checked.
    """

    tensors: Mapping[str, np.ndarray]
    shape: tuple[int, ...]  # of latents, [B, C, h, w]; () without steps
    grids: Grids
    precision: str
    columns: Mapping[str, int]  # kind of maps -> the fewest that fit the prompts
    own_from: int = 0  # the first step with these prompts; those before are of a parent's
    room: Room = field(default_factory=Room)
    _made: OrderedDict[str, Any] = field(default_factory=OrderedDict, repr=False)
    _kept: int = 0  # bytes of those
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_made": OrderedDict(), "_kept": 0}
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def __deepcopy__(self, memo: object) -> Tensors:
        return self  # nothing in it changes

    def names(self, info: StepInfo) -> Iterator[str]:
        """The tensors that a whole step has."""
        for part in info.parts:
            name, kind = f"steps.{info.index}.{part}", part.removeprefix("attention.")
            if part in LATENTS:
                yield name
                continue
            for number in range(len(self.grids[kind])):
                yield f"{name}.{number}"
                if self.is_scaled(kind):
                    yield f"{name}.{number}.scale"

    def is_scaled(self, kind: str) -> bool:
        return kind == "queries" or self.precision == "8-bit"

    # -------------------------------------------------------------------------------- checks

    def check(self, info: StepInfo) -> None:
        """Raise ValueError unless the tensors of a whole step are as they should be."""
        for part in info.parts:
            name, kind = f"steps.{info.index}.{part}", part.removeprefix("attention.")
            if part in LATENTS:
                self.check_latents(name)
                continue
            for number, grid in enumerate(self.grids[kind].values()):
                self._check_layer(f"{name}.{number}", kind, grid, own=info.index >= self.own_from)

    def check_latents(self, name: str) -> None:
        self.room.take(4 * math.prod(self.shape))
        self._check(name, np.float16, self.shape)

    def _check_layer(self, name: str, kind: str, grid: Grid, *, own: bool) -> None:
        batch = self.shape[0]
        if kind == "queries":
            self._check(name, np.int8, (batch, *grid))
            self._check(f"{name}.scale", np.float32, (batch, grid[0], 1))
            return
        given, by = self.tensors[name].shape, 1
        count: tuple[int, ...]
        each: tuple[int, ...]
        if kind == "cells":
            count, each = (batch, grid[0]), grid[1:]
        else:
            heads, columns = given[1:3] if len(given) == 5 else (0, 0)
            fewest = self.columns[kind] if own else 1
            if not (1 <= heads <= PIECE_LIMIT and fewest <= columns <= PIECE_LIMIT + 3):
                raise ValueError(f"{name} has the shape {[*given]}")
            by = block(grid) if self.precision == "8-bit" else 1
            count, each = (batch, heads, columns), (-(-grid[0] // by), -(-grid[1] // by))
            if by > 1:
                self.room.take(2 * math.prod(count) * (grid[0] + by) * (grid[1] + by))
        self.room.take(2 * math.prod(count) * math.prod(each))
        if not self.is_scaled(kind):
            self._check(name, np.float16, (*count, *each))
            return
        self._check(name, np.uint8, (*count, *each))
        self._check(f"{name}.scale", np.float32, count)
        scale = self.tensors[f"{name}.scale"]
        if scale.min() < 0 or scale.max() > np.finfo(np.float16).max:
            raise ValueError(f"{name}.scale is not within 0 and 65,504")

    def _check(self, name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
        """A tensor of that type and shape, finite."""
        values = self.tensors[name]
        if values.dtype != dtype or values.shape != shape:
            raise ValueError(f"{name} is {values.dtype} {[*values.shape]}, not {[*shape]}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{name} has NaN or infinity")
        return values

    def factors(self) -> np.ndarray | None:
        """[C + 1, 3] float32, for `images.preview_rgb`; None if they are missing."""
        if "factors" not in self.tensors:
            return None
        rows = len(self.tensors["factors"]) if self.tensors["factors"].ndim else 0
        if self.shape:
            rows = self.shape[1] + 1
        if not 2 <= rows <= PIECE_LIMIT + 1:
            raise ValueError(f"factors has {rows} rows")
        return self._check("factors", np.float32, (rows, 3))

    def given_latents(self) -> np.ndarray | None:
        """[B, C, h, w] float32: the noise that the run was given; None if it was given none."""
        if not self.shape or "given_latents" not in self.tensors:
            return None
        return self._check("given_latents", np.float32, self.shape)

    def given_depth(self) -> np.ndarray | None:
        """[H, W] float32: the depth map that the run was given; None if it was given none."""
        if "given_depth" not in self.tensors:
            return None
        shape = self.tensors["given_depth"].shape
        if len(shape) != 2 or not 1 <= math.prod(shape) <= MAX_PIXELS:
            raise ValueError(f"given_depth is {[*shape]}")
        return self._check("given_depth", np.float32, shape)

    def given_label_map(self) -> np.ndarray | None:
        """[H, W] uint16: the label map that the run was given; None if it was given none."""
        if "given_label_map" not in self.tensors:
            return None
        shape = self.tensors["given_label_map"].shape
        if len(shape) != 2 or not 1 <= math.prod(shape) <= MAX_PIXELS:
            raise ValueError(f"given_label_map is {[*shape]}")
        return self._check("given_label_map", np.uint16, shape)

    def image(self, name: str) -> Image.Image:
        """An image out of its PNG, without anything else that a PNG may carry."""
        values = self.tensors[name]
        content = self._check(name, np.uint8, (values.size,)).tobytes()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's own size warning; our limit is lower
                with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
                    if opened.mode not in IMAGE_MODES or opened.width * opened.height > MAX_PIXELS:
                        raise ValueError(f"{opened.width} x {opened.height}, {opened.mode}")
                    self.room.take(opened.width * opened.height * len(opened.mode))
                    image = opened.copy()
        except Exception as error:  # decoders raise nearly everything on broken files
            raise ValueError(f"{name} cannot be read: {error}") from None
        image.info = {}
        return image

    # -------------------------------------------------------------------------------- arrays

    def noisy(self, name: str, sigma: float) -> np.ndarray:
        """The latents [B, C, h, w] float32 at that noise level."""
        return self.once(name, lambda: self.latents(name) * deviation(sigma))

    def latents(self, name: str) -> np.ndarray:
        """The latents [B, C, h, w] float32, kept as float16."""
        return self.tensors[name].astype(np.float32)

    def layer(self, name: str, kind: str, grid: Grid) -> np.ndarray | Queries:
        """The values of a layer, in the shape that they have in `TraceStep`."""
        if kind == "queries":
            return Queries(self.tensors[name], self.tensors[f"{name}.scale"])
        return self.once(name, lambda: self._maps(name, kind, grid))

    def _maps(self, name: str, kind: str, grid: Grid) -> np.ndarray:
        """[..., h, w] float16; of eight bits, 255 stands for the scale."""
        values = self.tensors[name]
        if not self.is_scaled(kind):
            return values
        scale = self.tensors[f"{name}.scale"] / 255
        maps = (values * scale.reshape(*scale.shape, *(1,) * (values.ndim - scale.ndim))).astype(
            np.float16
        )
        by = 1 if kind == "cells" else block(grid)
        if by == 1:
            return maps
        # back to the layer's own size, all cells of a block alike
        return maps.repeat(by, axis=-2).repeat(by, axis=-1)[..., : grid[0], : grid[1]]

    def once(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array, made only if it is not among the last ones used."""
        with self._lock:
            made = self._made.pop(name, None)
            if made is None:
                made = make()
                self._kept += made.nbytes + _OBJECT
            self._made[name] = made
            while self._kept > KEPT and len(self._made) > 1:
                self._kept -= self._made.popitem(last=False)[1].nbytes + _OBJECT
            return made


class _Layers(Mapping[str, Any]):
    """Layer -> what a step recorded of one kind."""

    def __init__(self, tensors: Tensors, step: int, kind: str):
        self._tensors, self._step, self._kind = tensors, step, kind

    def __getitem__(self, layer: str) -> Any:
        grids = self._tensors.grids[self._kind]
        number = list(grids).index(layer) if layer in grids else None
        if number is None:
            raise KeyError(layer)
        name = f"steps.{self._step}.{KINDS[self._kind]}.{number}"
        return self._tensors.layer(name, self._kind, grids[layer])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors.grids[self._kind])

    def __len__(self) -> int:
        return len(self._tensors.grids[self._kind])


class _Made:
    """An attribute that is made whenever it is read; a value of an instance's own goes before."""

    def __init__(self, make: Callable[[StoredStep], Any]):
        self.make = make

    def __get__(self, step: StoredStep | None, kind: type | None = None) -> Any:
        return self if step is None else self.make(step)


class StoredStep(TraceStep):
    """A step whose arrays are made from its file's tensors."""

    _tensors: Tensors
    _parts: tuple[str, ...]
    _next: tuple[str, float]  # the tensor of x_next, and its noise level

    @classmethod
    def of(cls, info: StepInfo, tensors: Tensors, following: tuple[str, float]) -> StoredStep:
        """A step that was checked; ``following``: the tensor of its x_next and its noise level."""
        step = cls.__new__(cls)
        step.__dict__.update(
            index=info.index,
            sigma=info.sigma,
            sigma_next=info.sigma_next,
            seconds=info.seconds,
            draws=info.draws,
            _tensors=tensors,
            _parts=info.parts,
            _next=following,
        )
        return step

    def _part(self, part: str) -> np.ndarray | None:
        if part not in self._parts:
            return None
        name = f"steps.{self.index}.{part}"
        return self._tensors.once(name, lambda: self._tensors.latents(name))

    def _cond(self) -> np.ndarray | None:
        difference, uncond = self._part("difference"), self._part("uncond")
        if difference is None or uncond is None:
            return difference
        name = f"steps.{self.index}.cond"
        return self._tensors.once(name, lambda: uncond + difference)

    def _attention(self) -> StepAttention | None:
        kept = {
            kind: _Layers(self._tensors, self.index, kind)
            for kind, part in KINDS.items()
            if part in self._parts and part != "control"
        }
        return StepAttention(**kept) if kept else None

    def _control(self) -> Mapping[str, Any]:
        there = "control" in self._parts
        return _Layers(self._tensors, self.index, "control") if there else {}

    x = _Made(lambda step: step._tensors.noisy(f"steps.{step.index}.x", step.sigma))
    x_next = _Made(lambda step: step._tensors.noisy(*step._next))
    denoised = _Made(lambda step: step._part("denoised"))
    uncond = _Made(lambda step: step._part("uncond"))
    cond = _Made(_cond)
    attention = _Made(_attention)
    control = _Made(_control)
