"""Edits of latents: each is plain data, has a label, and makes new latents from old ones.

Latents are [1, C, h, w] of unit variance; channels and cells are counted from 0.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .. import checks
from ..contract import ALL_CHANNELS, EDIT_LIMIT, PAINT_MODES
from ..errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from .directions import Directions

ALL = ALL_CHANNELS
"""Stands for all channels."""

MOST_CHANNELS = 64
MOST_CELLS = 2**14


@dataclass(frozen=True)
class Edit:
    """An edit. Its constructor raises ``InputError`` for values out of range."""

    type: ClassVar[str]

    def check(self, channels: int, directions: int) -> None:
        """Raise ``InputError`` if latents with so many channels and directions do not have what it
        edits."""

    def apply(self, z: Tensor, directions: Directions | None = None) -> Tensor:
        """The edited latents [1, C, h, w]; ``z`` stays as it is."""
        raise NotImplementedError

    def label(self, directions: Directions | None = None) -> str:
        """The edit in plain words."""
        raise NotImplementedError

    @property
    def slider(self) -> Hashable:
        """Its slider, of which only the newest edit counts; None if edits of this kind add up."""
        return None

    @property
    def stroke(self) -> Hashable:
        """What is dragged while the edit changes; None for an edit that is done at once."""
        return self.slider

    @property
    def is_neutral(self) -> bool:
        """Whether the edit changes nothing."""
        return False

    def as_json(self) -> dict[str, Any]:
        """The edit as plain data, which `from_json` reads."""
        return {"type": self.type, **asdict(self)}


@dataclass(frozen=True)
class Knock(Edit):
    """Knock a channel out: set it to 0, its average. A second time restores it."""

    type: ClassVar[str] = "knock"
    channel: int

    def __post_init__(self) -> None:
        _kept(self, channel=checks.whole("channel", self.channel, 0, MOST_CHANNELS - 1))

    def check(self, channels: int, directions: int) -> None:
        checks.index("channel", self.channel, channels)

    def apply(self, z: Tensor, directions: Directions | None = None) -> Tensor:
        z = z.clone()
        z[:, self.channel] = 0
        return z

    def label(self, directions: Directions | None = None) -> str:
        return f"channel {self.channel} knocked out"

    @property
    def slider(self) -> Hashable:
        return self.type, self.channel


@dataclass(frozen=True)
class Scale(Edit):
    """Multiply a channel, or all (-1), by ``factor``, -4 to 4."""

    type: ClassVar[str] = "scale"
    channel: int
    factor: float

    def __post_init__(self) -> None:
        _kept(
            self,
            channel=checks.whole("channel", self.channel, ALL, MOST_CHANNELS - 1),
            factor=checks.real("factor", self.factor, -EDIT_LIMIT, EDIT_LIMIT),
        )

    def check(self, channels: int, directions: int) -> None:
        _check_channel(self.channel, channels)

    def apply(self, z: Tensor, directions: Directions | None = None) -> Tensor:
        z = z.clone()
        z[:, _channels(self.channel)] *= self.factor
        return z

    def label(self, directions: Directions | None = None) -> str:
        return f"{_named(self.channel)} times {self.factor:.3g}"

    @property
    def slider(self) -> Hashable:
        return self.type, self.channel

    @property
    def is_neutral(self) -> bool:
        return self.factor == 1


@dataclass(frozen=True)
class Noise(Edit):
    """Add Gaussian noise of standard deviation ``sigma``, 0 to 10; the same for the same seed."""

    type: ClassVar[str] = "noise"
    sigma: float
    seed: int = 0

    def __post_init__(self) -> None:
        _kept(
            self,
            sigma=checks.real("sigma", self.sigma, 0, 10),
            seed=checks.whole("seed", self.seed, 0, 2**32 - 1),
        )

    def apply(self, z: Tensor, directions: Directions | None = None) -> Tensor:
        import torch

        generator = torch.Generator("cpu").manual_seed(self.seed)
        noise = torch.randn(z.shape, generator=generator, device="cpu")
        return z + self.sigma * noise.to(z)

    def label(self, directions: Directions | None = None) -> str:
        return f"noise of sigma {self.sigma:.3g}"

    @property
    def slider(self) -> Hashable:
        return self.type

    @property
    def is_neutral(self) -> bool:
        return self.sigma == 0


@dataclass(frozen=True)
class Shift(Edit):
    """Move all cells by ``dx`` to the right and ``dy`` down; they wrap around."""

    type: ClassVar[str] = "shift"
    dx: int = 0
    dy: int = 0

    def __post_init__(self) -> None:
        _kept(
            self,
            dx=checks.whole("dx", self.dx, -256, 256),
            dy=checks.whole("dy", self.dy, -256, 256),
        )

    def apply(self, z: Tensor, directions: Directions | None = None) -> Tensor:
        return z.roll((self.dy, self.dx), dims=(-2, -1))

    def label(self, directions: Directions | None = None) -> str:
        across = f"{abs(self.dx)} {'right' if self.dx > 0 else 'left'}" if self.dx else ""
        down = f"{abs(self.dy)} {'down' if self.dy > 0 else 'up'}" if self.dy else ""
        return f"shifted {' and '.join(filter(None, (across, down))) or 'nowhere'} (cells)"

    @property
    def is_neutral(self) -> bool:
        return self.dx == self.dy == 0


@dataclass(frozen=True)
class Flip(Edit):
    """Mirror the cells: swap left and right ("x"), or top and bottom ("y")."""

    type: ClassVar[str] = "flip"
    axis: Literal["x", "y"] = "x"

    def __post_init__(self) -> None:
        checks.choice("axis", self.axis, ("x", "y"))

    def apply(self, z: Tensor, directions: Directions | None = None) -> Tensor:
        return z.flip(-1 if self.axis == "x" else -2)

    def label(self, directions: Directions | None = None) -> str:
        return f"flipped {'left to right' if self.axis == 'x' else 'top to bottom'}"


@dataclass(frozen=True)
class Paint(Edit):
    """Set a channel, or all (-1), to ``value`` (-4 to 4) at some ``cells`` (x, y), or add it there.

    Cells outside the latents are ignored: a brush may hang over the edge.
    """

    type: ClassVar[str] = "paint"
    channel: int
    value: float
    cells: tuple[tuple[int, int], ...]
    mode: Literal["set", "add"] = "set"

    def __post_init__(self) -> None:
        _kept(
            self,
            channel=checks.whole("channel", self.channel, ALL, MOST_CHANNELS - 1),
            value=checks.real("value", self.value, -EDIT_LIMIT, EDIT_LIMIT),
            cells=_cells(self.cells),
        )
        checks.choice("mode", self.mode, PAINT_MODES)

    def check(self, channels: int, directions: int) -> None:
        _check_channel(self.channel, channels)

    def apply(self, z: Tensor, directions: Directions | None = None) -> Tensor:
        import torch

        height, width = z.shape[-2:]
        mask = torch.zeros(height, width, dtype=torch.bool, device=z.device)
        inside = [(y, x) for x, y in self.cells if 0 <= x < width and 0 <= y < height]
        if inside:
            rows, columns = zip(*inside, strict=True)
            mask[list(rows), list(columns)] = True
        z = z.clone()
        part = z[:, _channels(self.channel)]
        painted = torch.full_like(part, self.value) if self.mode == "set" else part + self.value
        z[:, _channels(self.channel)] = torch.where(mask, painted, part)
        return z

    def label(self, directions: Directions | None = None) -> str:
        what = "set to" if self.mode == "set" else "plus"
        count = len(set(self.cells))
        cells = "1 cell" if count == 1 else f"{count} cells"
        return f"{cells} of {_named(self.channel)} {what} {self.value:.3g}"

    @property
    def stroke(self) -> Hashable:
        return self.type, self.channel, self.value, self.mode

    @property
    def is_neutral(self) -> bool:
        return not self.cells


@dataclass(frozen=True)
class Walk(Edit):
    """Move every cell along a principal direction, by ``amount`` standard deviations, -4 to 4."""

    type: ClassVar[str] = "walk"
    direction: int
    amount: float

    def __post_init__(self) -> None:
        _kept(
            self,
            direction=checks.whole("direction", self.direction, 0, 7),
            amount=checks.real("amount", self.amount, -EDIT_LIMIT, EDIT_LIMIT),
        )

    def check(self, channels: int, directions: int) -> None:
        checks.index("direction", self.direction, directions)

    def apply(self, z: Tensor, directions: Directions | None = None) -> Tensor:
        if directions is None:
            raise InputError("A walk needs directions.", parameter="directions")
        step = self.amount * directions.std[self.direction] * directions.vectors[self.direction]
        return z + step.to(z).view(1, -1, 1, 1)

    def label(self, directions: Directions | None = None) -> str:
        share = ""
        if directions is not None:
            share = f" ({directions.shares[self.direction]:.0%} of the variance)".replace("%", " %")
        return f"direction {self.direction + 1}{share}: {self.amount:+.3g}"

    @property
    def slider(self) -> Hashable:
        return self.type, self.direction

    @property
    def is_neutral(self) -> bool:
        return self.amount == 0


EDITS: dict[str, type[Edit]] = {
    kind.type: kind for kind in (Knock, Scale, Noise, Shift, Flip, Paint, Walk)
}


def from_json(value: Any) -> Edit:
    """The edit that plain data describes. Raises ``InputError`` for anything else."""
    kind = EDITS.get(str(value.get("type"))) if isinstance(value, dict) else None
    if kind is None:
        raise InputError(
            f"An edit has a type of {', '.join(EDITS)}, got {checks.shown(value)}.",
            parameter="edit",
        )
    known = {one.name for one in fields(kind)}
    try:
        return kind(**{name: value[name] for name in value if name in known})
    except TypeError as error:
        raise InputError(f"This is not a {kind.type} edit: {error}.", parameter="edit") from None


def _kept(edit: Edit, **values: Any) -> None:
    """Keep checked values in a frozen edit."""
    for name, value in values.items():
        object.__setattr__(edit, name, value)


def _cells(value: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, (list, tuple)) or len(value) > MOST_CELLS:
        raise InputError(
            f"cells must be a list of at most {MOST_CELLS:,} places (x, y).", parameter="cells"
        )
    for cell in value:
        if (
            not isinstance(cell, (list, tuple))
            or len(cell) != 2
            or not all(map(checks.is_whole, cell))
        ):
            raise InputError(
                f"A cell is two whole numbers, x and y, got {checks.shown(cell)}.",
                parameter="cells",
            )
    return tuple((int(x), int(y)) for x, y in value)


def _check_channel(channel: int, channels: int) -> None:
    if channel != ALL:
        checks.index("channel", channel, channels)


def _channels(channel: int) -> slice:
    return slice(None) if channel == ALL else slice(channel, channel + 1)


def _named(channel: int) -> str:
    return "all channels" if channel == ALL else f"channel {channel}"
