"""Prompt-to-prompt against its equations, written for diffusers' attention processors.

"Prompt-to-Prompt Image Editing with Cross Attention Control" (Hertz et al., arXiv 2208.01626,
algorithm 1 and section 3.2): M_t are the attention maps of the source, M*_t those of the target.
Latents agree to 1e-3 of their scale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from references import copy_weights, relative_error, scheduler_of, unet_of
from small_families import FAMILIES
from torch import Tensor

from sdwidgets.configs import ModelConfig
from sdwidgets.models.conditioning import Given
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")

STEPS, TAU_CROSS, TAU_SELF = 5, 3, 2  # the source's maps are used in this many steps
TOLERANCE = 1e-3  # of the latents' scale
T = 77

Edit = Callable[[Tensor, Tensor, int], Tensor]
"""``Edit(M_t, M*_t, t)``, each [heads, cells, T]; t counts steps from 0."""


class Controlled:
    """A processor of all attentions of a UNet that edits the target's maps by the source's.

    The batch is (negative, negative, source, target), as in diffusers' guidance.
    """

    def __init__(self, edit: Edit, most_cells: int):
        self.edit = edit
        self.most_cells = most_cells
        self.t = 0

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any
    ) -> Tensor:
        is_cross = encoder_hidden_states is not None
        context = encoder_hidden_states if is_cross else hidden_states
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        q, k, v = (z.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for z in (q, k, v))
        maps = torch.softmax(q @ k.mT * attn.scale, dim=-1)
        source, target = maps[-2], maps[-1]
        if is_cross:
            maps[-1] = self.edit(source, target.clone(), self.t)
        elif self.t < TAU_SELF and len(hidden_states[0]) <= self.most_cells:
            maps[-1] = source
        return attn.to_out[0]((maps @ v).transpose(1, 2).flatten(2))


def swapped(mapper: Tensor) -> Edit:
    """Word swap: the source's maps, through a mapper of tokens, until tau; then the target's."""
    return lambda m, m_star, t: m @ mapper if t < TAU_CROSS else m_star


def reweighted(edit: Edit, j_star: int, c: float) -> Edit:
    """Attention re-weighting: c times the map of the token j*."""

    def scaled(m: Tensor, m_star: Tensor, t: int) -> Tensor:
        new = edit(m, m_star, t).clone()
        new[..., j_star] *= c
        return new

    return scaled


def mapper_of(groups: list[tuple[range, range]]) -> Tensor:
    """[T, T]: the tokens of each group of the source share their attention among those of the
    target's, in order. The paper leaves open how; here, both groups are as wide as each other."""
    mapper = torch.zeros(T, T)
    for before, after in groups:
        m, n = len(before), len(after)
        for i in range(m):
            for j in range(n):
                overlap = min((i + 1) / m, (j + 1) / n) - max(i / m, j / n)
                mapper[before[i], after[j]] = m * max(overlap, 0)
    return mapper


def refined_with(mapper: Tensor, new: range) -> Edit:
    """A new phrase, where A(j) is None for the tokens ``new``, and the padding has a mapper."""

    def edit(m: Tensor, m_star: Tensor, t: int) -> Tensor:
        if t >= TAU_CROSS:
            return m_star
        edited = m @ mapper
        edited[..., list(new)] = m_star[..., list(new)]
        return edited

    return edit


# tokens of the test's vocabulary: "bird" and "big" have one for each letter, the others one
A, CAT, THE, DOG, END, PAD = 1, 2, 3, 4, 5, range(6, T)
SOURCE = "a cat the dog"
CASES: dict[str, tuple[str, dict[str, Any], Edit]] = {
    "swap": (SOURCE, {"word": "cat", "replacement": "dog"}, swapped(torch.eye(T))),
    "swap of words of 4 tokens and 1": (
        "a bird the cat",
        {"prompt": "a cat the bird"},
        swapped(
            mapper_of(
                [(range(1), range(1)), (range(1, 2), range(1, 2)), (range(2, 6), range(2, 3)),
                 (range(6, 7), range(3, 4)), (range(7, 8), range(4, 8)), (range(8, T), range(8, T))]
            )
        ),
    ),
    "a new phrase": (
        SOURCE,
        {"prompt": "a big cat the dog"},
        refined_with(
            mapper_of(
                [(range(2), range(2)), (range(CAT, PAD[0]), range(CAT + 3, PAD[0] + 3)),
                 (PAD, PAD[3:])]
            ),
            range(2, 5),
        ),
    ),
    "more of a word": (SOURCE, {"weights": {"dog": 3}}, reweighted(swapped(torch.eye(T)), DOG, 3)),
    "a swap and less of the new word": (
        SOURCE,
        {"word": "cat", "replacement": "dog", "weights": {"dog": 0.5}},
        reweighted(reweighted(swapped(torch.eye(T)), CAT, 0.5), DOG, 0.5),
    ),
}  # fmt: skip


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(7) for _ in range(2)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["SD1", "SDXL"])
def test_edits(make_model: Callable[[ModelConfig], LatentDiffusion], name: str, case: str) -> None:
    prompt, asked, edit = CASES[case]
    model = make_model(FAMILIES[name])
    model.unet.conv_out.weight.mul_(5)  # so that the network matters for the result
    for layer in model.unet.cross_attentions().values():  # and what it attends to
        layer.to_q.weight.mul_(3)
        layer.to_out[0].weight.mul_(3)
    unet = unet_of(model.unet.config, linear=model.unet.config.context_dim != 768)
    copy_weights(model.unet, unet)
    size = {"width": 72, "height": 56}  # an odd number of cells
    settings = {"steps": STEPS, "guidance_scale": 5.0, **size}
    trace = model.generate(prompt, seed=7, sampler="ddim", schedule="ddim", **settings)
    edited = trace.edit(
        **asked, cross_attention=TAU_CROSS / STEPS, self_attention=TAU_SELF / STEPS, resolution=5
    )
    last = edited.steps[-1]
    latents = torch.from_numpy(last.x_next) / (1 + last.sigma_next**2) ** 0.5

    controlled = Controlled(edit, most_cells=25)
    unet.set_attn_processor(controlled)
    given = [Given(text, (72, 56)) for text in (prompt, edited.prompt)]
    away = [Given(None, (72, 56))] * 2
    told, negative = model.condition(given), model.condition(away)
    more: dict[str, Any] = {}
    if told.vector is not None:
        pooled = model.config.text[-1].projection_dim
        times = torch.tensor([[56, 72, 0, 0, 56, 72]] * 4)
        states = torch.cat([negative.vector[:, :pooled], told.vector[:, :pooled]])
        more = {"added_cond_kwargs": {"text_embeds": states, "time_ids": times}}
    context = torch.cat([negative.context, told.context])
    scheduler = scheduler_of(model.config.schedule, "ddim")
    scheduler.set_timesteps(STEPS)
    x = torch.stack([torch.randn(4, 7, 9, generator=g) for g in generators()])
    x = x * scheduler.init_noise_sigma
    for t, timestep in enumerate(scheduler.timesteps):
        controlled.t = t
        with torch.no_grad():
            eps = unet(torch.cat([x, x]), timestep, context, **more).sample
        uncond, cond = eps.chunk(2)
        x = scheduler.step(uncond + 5.0 * (cond - uncond), timestep, x).prev_sample
    assert relative_error(latents, x[1:]) < TOLERANCE
    plain = model.generate(edited.prompt, seed=7, sampler="ddim", schedule="ddim", **settings)
    for other in (trace, plain):
        different = torch.from_numpy(other.steps[-1].x_next) / (1 + last.sigma_next**2) ** 0.5
        assert relative_error(different, x[1:]) > 3 * TOLERANCE
