"""Neighbours as tokens: their embeddings, their words, and a model that is told them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from sdwidgets.configs import TINY, ModelConfig, NeighboursConfig, TextConfig, VisionConfig
from sdwidgets.diffusion import SAMPLERS, Denoiser
from sdwidgets.errors import CheckpointError, InputError
from sdwidgets.models.attention import looking
from sdwidgets.models.conditioning import Given, Held, condition, conditioned, read
from sdwidgets.models.neighbours import NeighbourImages
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace.attention import chosen
from sdwidgets.trace.tokens import PromptTokens

pytestmark = pytest.mark.usefixtures("seeded")
Make = Callable[[ModelConfig], LatentDiffusion]

VISION = VisionConfig(size=16, patch=8, width=16, layers=2, heads=2, hidden=32, projection_dim=24)
ALONE = NeighboursConfig(width=24, most=4, vision=VISION, norm=2.0)
TEXT = TextConfig(
    vocab_size=300, width=16, layers=1, heads=2, hidden=32, bos=298, eos=299, projection_dim=24
)


def image(height: int = 16, width: int = 16) -> Held:
    return Held(torch.rand(3, height, width) * 2 - 1)


def given(*images: Held, prompt: str | None = None) -> Given:
    return Given(prompt, (16, 16), neighbours=images or None)


@pytest.fixture
def alone() -> NeighbourImages:
    return NeighbourImages(ALONE)


@pytest.fixture
def told(make_model: Make) -> LatentDiffusion:
    """A model that is told neighbours and a prompt."""
    return make_model(replace(TINY, embedders=(replace(ALONE, text=TEXT),)))


def test_each_image_is_its_embedding_at_the_configs_length(alone: NeighbourImages) -> None:
    one, other = image(), image(40, 24)
    context = condition([alone], [given(one, other)]).context
    assert context is not None and context.shape == (1, 2, 24)
    assert torch.allclose(context.norm(dim=-1), torch.tensor(2.0))
    vision = alone.model.vision
    with torch.no_grad():
        expected = F.normalize(vision(vision.prepared(other.values[None])), dim=-1)
    assert torch.allclose(context[0, 1] / 2, expected[0], atol=1e-4)


def test_nothing_is_a_token_of_zeros(alone: NeighbourImages) -> None:
    context = condition([alone], [given()]).context
    assert context is not None and context.shape == (1, 1, 24) and not context.any()


def test_shorter_contexts_of_a_batch_are_repeated(alone: NeighbourImages) -> None:
    images = [image() for _ in range(3)]
    batch = [given(*images), given(*images[:2]), given()]
    context = condition([alone], batch).context
    assert context is not None and context.shape == (3, 6, 24)
    assert torch.allclose(context[0, 3:], context[0, :3])
    assert torch.allclose(context[1, 2:4], context[1, :2])
    assert not context[2].any()
    assert read([alone], batch).ids.tolist() == [[1, 2, 3] * 2, [1, 2] * 3, [1] * 6]


def test_each_image_is_a_word_with_its_own_column(alone: NeighbourImages) -> None:
    images = [image() for _ in range(3)]
    batch = [given(*images), given(images[0])]
    tokens = read([alone], batch)
    assert tokens.texts == ("1, 2, 3", "1")
    assert tokens.pieces == (("1", "2", "3"), ("1",))
    assert tokens.words[0] == ((0, 1), (3, 4), (6, 7))
    columns = chosen(tokens, range(2))
    assert columns is not None  # no start, the images, no end
    assert columns[0].tolist() == [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]
    assert columns[1].tolist() == [[0, 1, 0, 0, 0]] * 3  # the shares of the same image are added
    words = PromptTokens.of(tokens.texts[0], tokens)
    assert [(word.text, word.tokens) for word in words.words] == [
        ("1", (1,)),
        ("2", (2,)),
        ("3", (3,)),
    ]


def test_the_prompt_comes_first(told: LatentDiffusion) -> None:
    one = image()
    batch = [given(one, prompt="a cat"), given(one), given(prompt="a cat"), given(prompt=" ")]
    context = told.condition(batch).context
    assert context is not None and context.shape == (4, 2, 24)
    assert torch.allclose(context[0, 0], context[2, 0], atol=1e-4)  # the prompt
    assert torch.allclose(context[0, 1], context[1, 0], atol=1e-4)  # the image
    assert not context[3].any()
    assert told.tokenize(batch).texts == ("a cat, 1", "1", "a cat", "")
    assert told.tokenize(batch).words[0] == ((0, 5), (7, 8))


def test_too_many_images_and_prompts_that_are_not_read_are_refused(alone: NeighbourImages) -> None:
    with pytest.raises(InputError, match="up to 4 neighbours, got 5"):
        read([alone], [given(*(image() for _ in range(5)))])
    with pytest.raises(InputError, match="takes no prompt"):
        read([alone], [given(image(), prompt="a cat")])


def test_towers_of_another_width_are_refused() -> None:
    with pytest.raises(CheckpointError, match="32 wide, but the projections of the towers are 24"):
        NeighbourImages(replace(ALONE, width=32))


def test_the_tower_learns(alone: NeighbourImages) -> None:
    context = condition([alone], [given(image(), image()), given()]).context
    assert context is not None
    context.pow(3).sum().backward()
    grads = [weight.grad for weight in alone.model.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)
    assert sum(bool(grad.any()) for grad in grads if grad is not None) > len(grads) / 2


def test_a_model_is_guided_by_neighbours(told: LatentDiffusion) -> None:
    """Guidance leads from nothing, zeros, to the images and the prompt."""
    batch = [given(image(), image(), prompt="a cat"), given()]
    network = conditioned(told.unet, told.condition(batch))
    denoise = Denoiser(network, told.schedule, guidance_scale=3.0)
    seen: list[int] = []
    with looking(lambda layer, q, context, p: seen.append(context.shape[1])):
        *_, last = SAMPLERS["euler"](denoise, torch.randn(1, 4, 8, 8), [5.0, 1.0, 0.0])
    assert torch.isfinite(last.x_next).all()
    assert 3 in seen
