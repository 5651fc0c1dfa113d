"""Prompt-to-prompt: the attention of a run edited by that of another run beside it.

"Prompt-to-Prompt Image Editing with Cross Attention Control" (Hertz et al., arXiv 2208.01626). A
source and a target are denoised as one batch, from the same noise. The target's cross-attention is
replaced by the source's, which decides where things are, while its values come from its own prompt,
which decides what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..diffusion import Denoise, Step
from ..errors import InputError
from ..models.attention import Attention, editing
from .alignment import Alignment, Columns
from .attention import HasAttention, grid_of
from .recipe import DEFAULT

SOURCE, TARGET = 0, 1
"""The rows of the batch."""

BLEND_FROM = 0.2
"""The share of the steps after which the blend begins: before, the maps show no shapes yet."""


@dataclass(frozen=True)
class Blend:
    """Where the target may differ: where the blend's words look, in the source or in the target.

    ``words``: their columns of the context, for source and target. ``all_words``: those of all
    words of the prompt, against which they are measured. ``threshold``: the share of the map's
    greatest value from which a cell belongs to them.
    """

    words: tuple[Columns, Columns]
    all_words: tuple[Columns, Columns]
    threshold: float


class Editor:
    """An `attention.Edit` of a batch's second row by its first, and the blend of their latents.

    ``alignment``: how the source's attention becomes the target's. ``weights`` [T]: factors of the
    target's attention to each token, in every step. ``cross_attention`` and ``self_attention``: the
    share of a run's steps, from its beginning, in which the source's attention is used; in between
    two steps, the noise level decides. ``resolution``: self-attention is only replaced in layers
    with at most as many cells along a side, or as many in a square; None: 16, or a quarter of the
    latents' longer side if that is more. In a guided batch, only the prompt's half is edited: its
    first two rows.
    """

    def __init__(
        self,
        unet: HasAttention,
        alignment: Alignment,
        weights: np.ndarray | None = None,
        *,
        cross_attention: float,
        self_attention: float,
        resolution: int | None = None,
        blend: Blend | None = None,
    ):
        self._cross = {layer: name for name, layer in unet.cross_attentions().items()}
        self._self = frozenset(unet.self_attentions().values())
        self._taken = None if alignment.is_same else torch.from_numpy(alignment.taken)
        self._own = torch.from_numpy(alignment.own) if alignment.own.any() else None
        self._dropped = torch.from_numpy(alignment.dropped) if alignment.dropped.any() else None
        self._weights = None if weights is None else torch.from_numpy(weights)
        self._shares = cross_attention, self_attention
        self._resolution = resolution
        self._cells = 0  # the most of a layer whose self-attention is replaced
        self._blend = blend
        self._crosses = self._selves = False  # whether the source's attention is used in this call
        self._called = False
        self._maps: dict[str, Tensor] = {}  # layer -> [2, 2, N]: of each row, its words and all
        self._heat: Tensor | None = None  # the sum of the chosen maps so far, [2, 2, h, w]
        self._step_mask: Tensor | None = None  # of the first call since the last step

    # ---------------------------------------------------------------- in the forward pass

    def cross(self, layer: Attention, probabilities: Tensor) -> Tensor:
        """See `attention.Edit`."""
        if layer not in self._cross:
            return probabilities
        self._called = True
        p, q = probabilities[SOURCE], probabilities[TARGET]  # [heads, N, T]
        new = self._aligned(p, q) if self._crosses else q
        if self._weights is not None:
            new = new * self._weights.to(p)
        if self._blend is not None:
            self._maps[self._cross[layer]] = self._looked(p, new, self._blend)
        if new is q:
            return probabilities
        return torch.cat([p[None], new[None], probabilities[TARGET + 1 :]])

    def itself(self, layer: Attention, x: Tensor) -> Tensor:
        """See `attention.Edit`."""
        if not self._selves or layer not in self._self or x.shape[1] > self._cells:
            return x
        return torch.cat([x[: SOURCE + 1], x[: SOURCE + 1], x[TARGET + 1 :]])

    def _aligned(self, p: Tensor, q: Tensor) -> Tensor:
        """The attention p to the source's tokens as attention to the target's, which has q."""
        new = p if self._taken is None else p @ self._taken.to(p)
        if self._own is not None:
            new = new + q * self._own.to(q)
        if self._dropped is not None:
            new = new + (p @ self._dropped.to(p))[..., None] * q
        return new

    def _looked(self, p: Tensor, q: Tensor, blend: Blend) -> Tensor:
        """[2, 2, N]: how much the cells of both rows attend to the blend's words, and to all."""
        columns = zip((p, q), blend.words, blend.all_words, strict=True)
        return torch.stack(
            [
                torch.stack([row[..., list(some)].sum(-1).mean(0) for some in (words, every)])
                for row, words, every in columns
            ]
        )

    # ---------------------------------------------------------------- around the denoiser

    def around(self, denoise: Denoise, sigmas: Sequence[float]) -> Denoise:
        """Return ``denoise(x, sigma)`` with the edit, for a run along the grid ``sigmas``.

        Raises InputError, when called, for a network that does not show its attention.
        """
        cross, itself = (_level(share, sigmas) for share in self._shares)
        blend_from = _level(BLEND_FROM, sigmas)

        def edited(x: Tensor, sigma: float) -> Tensor:
            self._crosses, self._selves = sigma > cross, sigma > itself
            self._cells = (self._resolution or max(16, -(-max(x.shape[-2:]) // 4))) ** 2
            self._called = False
            blends = self._blend is not None and sigma <= blend_from
            mask = self._mask(x.shape[-2:]) if blends else None
            with editing(self):
                out = denoise(x if mask is None else _blended(x, mask), sigma)
            if not self._called:
                raise InputError(
                    "A compiled network does not show its attention, so it cannot be edited.\n"
                    "Use the model as it was loaded.",
                    parameter="model",
                )
            if self._blend is None:
                return out
            self._add(x.shape[-2:])
            if not blends:
                return out
            mask = self._mask(x.shape[-2:])
            assert mask is not None
            self._step_mask = mask if self._step_mask is None else self._step_mask
            return _blended(out, mask)

        # for samplers that count training steps
        edited.schedule = getattr(denoise, "schedule", None)  # type: ignore[attr-defined]
        return edited

    def _add(self, size: Sequence[int]) -> None:
        """Add the maps of this call, of the layers that show objects best, to the heat."""
        h, w = size
        grids = {name: grid_of(maps.shape[-1], h, w) for name, maps in self._maps.items()}
        total = torch.zeros(())
        for name in DEFAULT.layers(grids, (h, w)):
            maps = self._maps[name].unflatten(-1, grids[name])
            total = F.interpolate(maps, size=(h, w), mode="bilinear") + total.to(maps)
        same = self._heat is not None and self._heat.shape == total.shape
        self._heat = total + self._heat if same and self._heat is not None else total
        self._maps.clear()

    def _mask(self, size: Sequence[int]) -> Tensor | None:
        """[h, w] bool: where the blend's words have looked so far; None before the first call."""
        if self._heat is None or self._blend is None or self._heat.shape[-2:] != tuple(size):
            return None
        share = self._heat[:, 0] / self._heat[:, 1].clamp_min(1e-12)  # [2, h, w]
        share = F.max_pool2d(share, 3, stride=1, padding=1)  # as in the authors' code
        greatest = share.amax((1, 2), keepdim=True).clamp_min(1e-12)
        return (share / greatest > self._blend.threshold).any(0)

    def step(self, step: Step) -> Step:
        """Return a step that was just made with its halves blended, too, so that guidance of any
        scale keeps what is outside the mask."""
        mask, self._step_mask = self._step_mask, None
        if mask is None or step.cond is None or step.uncond is None:
            return step
        return replace(step, cond=_blended(step.cond, mask), uncond=_blended(step.uncond, mask))


def _blended(x: Tensor, mask: Tensor) -> Tensor:
    """x [2, ...] with the source's values in the target outside the mask."""
    return torch.cat([x[: SOURCE + 1], torch.where(mask, x[TARGET:], x[: SOURCE + 1])])


def _level(share: float, sigmas: Sequence[float]) -> float:
    """The noise level above which a call is in the first ``share`` of the steps of a grid."""
    steps = int(share * (len(sigmas) - 1) + 0.5)
    if steps == 0:
        return float("inf")  # a sampler may call above the grid
    if steps == len(sigmas) - 1:
        return -1.0
    return sigmas[steps] * (1 + 1e-6)  # which a sampler may have computed
