"""A UNet with ControlNets beside it, which is called as the UNet is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from .controlnet import ControlNet
from .windows import Window

Added: TypeAlias = "Sequence[Sequence[Tensor] | None]"
"""What each control adds to the skips and the middle, in the UNet's order; None: it is off."""


@dataclass(frozen=True, eq=False)
class ControlPart:
    """A ControlNet with its embedded image, and how strongly and when it acts.

    ``hint`` [1 or B, C, h, w] is that of `ControlNet.embed`. ``acts(step, steps)`` says whether it
    acts in that step of a run.
    """

    net: ControlNet
    hint: Tensor
    strength: float = 1.0
    acts: Callable[[int, int], bool] = lambda step, steps: True


class Controlled:
    """``controlled(x, t, context, vector)``: the UNet's prediction with what ControlNets add.

    The ControlNets read the latents alone, which are the first channels of ``x``; what several add
    is summed. `at` says in which step of the run the next calls are. ``look(skips, added)`` is
    called in each call with the tensors that something is added to, as they were before, and what
    each control adds; it must not change them.
    """

    def __init__(
        self,
        unet: nn.Module,
        parts: Sequence[ControlPart],
        look: Callable[[Sequence[Tensor], Added], None] | None = None,
    ):
        self.unet = unet
        self.parts = tuple(parts)
        self.look = look
        self._on = (True,) * len(self.parts)
        self._window: Window | None = None

    def at(self, step: int, steps: int) -> None:
        """Say that the next calls are in step ``step`` of ``steps``."""
        self._on = tuple(part.acts(step, steps) for part in self.parts)

    def look_at(self, window: Window | None) -> None:
        """Say that the next calls are of that window of the image; None: of all of it."""
        self._window = window

    def __call__(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor | None = None,
        vector: Tensor | None = None,
        **told: Tensor | None,
    ) -> Tensor:
        added = [
            self._of(part, x, t, context, vector) if on else None
            for part, on in zip(self.parts, self._on, strict=True)
        ]

        def residuals(skips: Sequence[Tensor]) -> Sequence[Tensor] | None:
            if self.look is not None:
                self.look(skips, added)
            return _sums([each for each in added if each is not None])

        return self.unet(x, t, context, vector, residuals=residuals, **told)  # type: ignore[no-any-return]

    def _of(
        self,
        part: ControlPart,
        x: Tensor,
        t: Tensor,
        context: Tensor | None,
        vector: Tensor | None,
    ) -> list[Tensor]:
        latents = x[:, : part.net.config.unet.in_channels]
        hint = part.hint if self._window is None else self._window.of(part.hint)
        found = part.net(latents, t, hint, context, vector)
        return found if part.strength == 1 else [each * part.strength for each in found]


def _sums(several: Sequence[Sequence[Tensor]]) -> Sequence[Tensor] | None:
    if len(several) < 2:
        return several[0] if several else None
    return [sum(each[1:], start=each[0]) for each in zip(*several, strict=True)]
