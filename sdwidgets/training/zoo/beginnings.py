"""What the weights of a system are before its training: those of the bundled model where it has
them, and tokens that already mean something to its attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ...models.boxes import Boxes
from ...models.conditioning import Embedder, Given, condition, read
from ...models.embedders import ClassLabels
from ...models.layers import timestep_embedding
from ...models.token_encoder import FeedForward, SelfAttention, TokenEncoder
from ...models.unet import UNet
from ...pipeline import LatentDiffusion
from ...prompts import PLAIN
from ...scenes import SIZE


@torch.no_grad()
def begin(network: UNet, embedders: Sequence[Embedder], base: LatentDiffusion) -> None:
    """Set the weights of a network and of its embedders to those of ``base``, in place.

    The first layer gets zeros for channels that the base does not have, as Stable Diffusion's
    inpainting model did: what is seen beside the latents has no effect at first.
    """
    own, theirs = network.state_dict(), base.unet.state_dict()
    for name, weight in own.items():
        if name == "conv_in.weight":
            weight.zero_()
            weight[:, : theirs[name].shape[1]] = theirs[name]
        else:
            weight.copy_(theirs[name])
    word = _state(base)
    for each in embedders:
        if isinstance(each, ClassLabels):
            table = next(each.model.parameters())
            table.copy_(torch.stack([*map(word, (*each.config.names, ""))]))
        if isinstance(each, Boxes):
            _begin_boxes(each, word)


def _begin_boxes(boxes: Boxes, word: Callable[[str], Tensor]) -> None:
    """Names begin as the states of their words, corners as waves over the image, so that near
    points have like tokens; the transformer's layers begin as the identity."""
    config, model = boxes.config, boxes.model
    assert isinstance(model, TokenEncoder)
    table = model.token_emb.weight
    points = torch.arange(config.sections) / (config.sections - 1)
    along = timestep_embedding(points * 20, config.width // 2)  # [n, D/2]
    count = config.sections**2
    x, y = along.repeat(config.sections, 1), along.repeat_interleave(config.sections, 0)
    table[:count] = torch.cat([x, y], dim=1)
    table[: len(config.names)] = torch.stack([*map(word, config.names)])
    table[config.nothing] = word("")
    for block in model.attn_layers.modules():
        if isinstance(block, (SelfAttention, FeedForward)):
            last = block.to_out if isinstance(block, SelfAttention) else block.net[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


def _state(base: LatentDiffusion) -> Callable[[str], Tensor]:
    """A function of a word: the state [D] of its token in the bundled model; of "", the mean."""

    def state(word: str) -> Tensor:
        given = [Given(word, (SIZE, SIZE), reading=PLAIN)]
        states = condition(base.embedders, given).context
        assert states is not None
        if not word:
            return states[0].mean(0)
        places = read(base.embedders, given).places[0][1:-1]  # without the start and the end
        return states[0, list(places)].mean(0)

    return state
