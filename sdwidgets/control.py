"""`Control`: an image that a run follows, by a ControlNet. No torch until a network is loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from . import checks
from .contract import CONTROL_STRENGTH
from .errors import InputError
from .pictures import PictureLike, as_picture

if TYPE_CHECKING:
    import torch

    from .models.controlnet import ControlNet


@dataclass(frozen=True, eq=False)
class Control:
    """An image that a run follows: a map of edges, depth, poses, ..., read by a ControlNet.

    ``net``: a network that `load_control` returned, or the path of one, which each run loads again.
    ``picture``: any image; a run brings it to its size as it does with the image that it starts
    from. Its values are the map's own: edges are white on black for most networks.
    ``strength``: the factor of what it adds, 0 to 10. ``start``, ``end``: the share of the run's
    steps in which it acts; 0 to 1 is the whole run.

    Raises InputError, and ImageError for the image. Files are read and decoded at once, networks
    when a run begins.

    Example::

        canny = sdw.load_control("control_v11p_sd15_canny.safetensors")
        model.generate("a bird", control=sdw.Control(canny, "edges.png", end=0.8))
    """

    net: ControlNet | str | os.PathLike[str]
    picture: PictureLike
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    notices: tuple[str, ...] = field(default=(), init=False, repr=False)  # of the image

    def __post_init__(self) -> None:
        opened, notices = as_picture(self.picture)
        changed: dict[str, Any] = {
            "net": _net(self.net),
            "picture": opened,
            "strength": checks.real("strength", self.strength, *CONTROL_STRENGTH),
            "start": checks.real("start", self.start, 0, 1),
            "end": checks.real("end", self.end, 0, 1),
            "notices": notices,
        }
        for name, value in changed.items():
            object.__setattr__(self, name, value)
        if self.start >= self.end:
            raise InputError(
                f"A control from {self.start:g} to {self.end:g} of the steps acts in none.\n"
                "Give a start below the end.",
                parameter="start",
            )

    @property
    def image(self) -> Image.Image:
        """The image, upright, in RGB."""
        return self.picture  # type: ignore[return-value]

    @property
    def name(self) -> str:
        """The name of its network, for people: that of its file."""
        if isinstance(self.net, Path):
            return self.net.name
        sources = self.net.sources  # type: ignore[union-attr]
        return sources[0].name if sources else "a ControlNet"

    def network(self, device: torch.device, dtype: torch.dtype) -> ControlNet:
        """The network on that device in that type; loaded, or a copy, unless it is so already.

        Raises what `load_control` raises.
        """
        if isinstance(self.net, Path):
            from .checkpoints.controlnet import load_control

            return load_control(self.net, device=device, dtype=dtype)
        return self.net.on(device, dtype)  # type: ignore[union-attr]


def _net(net: object) -> Any:
    """The network, or its path."""
    if isinstance(net, (str, os.PathLike)):
        return checks.path("net", net)
    if not all(hasattr(net, name) for name in ("on", "embed", "config", "sources")):
        raise InputError(
            f"net must be a ControlNet or the path of one, got {checks.shown(net)}.\n"
            "sdwidgets.load_control(path) returns one.",
            parameter="net",
        )
    return net
