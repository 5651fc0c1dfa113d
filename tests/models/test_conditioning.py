"""Conditioning: the inputs of an image become inputs of the network, in the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from few_pictures import Few
from torch import Tensor, nn

from sdwidgets.configs import TINY, ClassConfig, ModelConfig
from sdwidgets.errors import InputError, NumericsError
from sdwidgets.lab.forward import forward_diffusion
from sdwidgets.models.conditioning import (
    Conditioning,
    Given,
    Tokens,
    condition,
    conditioned,
    read,
)
from sdwidgets.models.embedders import embedders_of
from sdwidgets.models.unet import UNet
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.training.diffusion import Denoising, DiffusionTask
from sdwidgets.training.latents import cached_latents
from sdwidgets.training.loop import Draw, Plan, seeded, train

Make = Callable[[ModelConfig], LatentDiffusion]
SIZE = (16, 16)
STEPS = {"steps": 2, "seed": 0}


@dataclass(frozen=True)
class ShadeConfig:
    """The config of `Shade`."""

    vector_width: int = 3
    context_width: int = 0
    cells: int = 8


class Shade:
    """A vector of the prompt's length and a concat channel, both scaled by a learnt number."""

    inputs = frozenset({"prompt"})

    def __init__(self, config: ShadeConfig = ShadeConfig()):
        self.config = config
        self.model: nn.Module = nn.Linear(1, 1)
        self.asked: list[int] = []  # the size of each batch

    def tokens(self, given: Sequence[Given]) -> Tokens | None:
        return None

    def embed(self, given: Sequence[Given]) -> Conditioning:
        self.asked.append(len(given))
        lengths = torch.tensor([[float(len(each.prompt or ""))] for each in given])
        shade = self.model(lengths)  # [B, 1]
        side = self.config.cells
        return Conditioning(
            vector=shade.expand(-1, self.config.vector_width),
            concat=shade[:, :, None, None].expand(-1, 1, side, side),
        )


@pytest.fixture
def shaded(make_model: Make) -> LatentDiffusion:
    """Return TINY with a text, a vector and a channel beside the latents."""
    unet = replace(TINY.unet, vector_dim=3, in_channels=5)
    model = make_model(replace(TINY, unet=unet))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shade = Shade()
    shade.model.requires_grad_(False)
    return replace(model, embedders=(*model.embedders, shade))


def heard(model: LatentDiffusion, work: Callable[[], Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Return (x, context, vector) of the network's first call during ``work``."""
    calls: list[tuple[Any, ...]] = []
    handle = model.unet.register_forward_pre_hook(lambda _, args: calls.append(args))
    try:
        work()
    finally:
        handle.remove()
    x, _, context, vector = calls[0]
    return x, context, vector


# -- joining ---------------------------------------------------------------------------------


def part(**routes: tuple[int, ...]) -> Any:
    class Fixed:
        inputs = frozenset({"prompt"})
        model = nn.Identity()

        def tokens(self, given: Sequence[Given]) -> None:
            return None

        def embed(self, given: Sequence[Given]) -> Conditioning:
            values = {name: torch.full(shape, 2.0) for name, shape in routes.items()}
            return Conditioning(**values)

    return Fixed()


def test_contexts_are_joined_along_tokens_or_width() -> None:
    given = [Given("a", SIZE)]
    parts = [part(context=(1, 3, 4)), part(context=(1, 2, 4))]
    assert condition(parts, given).context.shape == (1, 5, 4)
    parts = [part(context=(1, 3, 4)), part(context=(1, 3, 6))]
    assert condition(parts, given, join="width").context.shape == (1, 3, 10)


def test_vectors_and_concats_are_joined_along_their_channels() -> None:
    parts = [part(vector=(1, 3)), part(vector=(1, 2), concat=(1, 1, 4, 4)), part()]
    told = condition(parts, [Given("a", SIZE)])
    assert told.vector.shape == (1, 5)
    assert told.concat.shape == (1, 1, 4, 4)
    assert told.context is None


def test_without_embedders_nothing_is_told() -> None:
    told = condition((), [Given(None, SIZE)])
    assert told.context is told.vector is told.concat is None


def test_what_is_given_several_times_is_embedded_once(shaded: LatentDiffusion) -> None:
    shade = shaded.embedders[-1]
    told = shaded.condition(["a cat", "dog", "a cat", "a cat"])
    assert shade.asked == [2]
    assert told.vector[:, 0].tolist() == told.vector[[2, 1, 0, 0], 0].tolist()
    assert told.vector[0, 0] != told.vector[1, 0]
    assert [len(route) for route in (told.context, told.vector, told.concat)] == [4, 4, 4]


def test_to_moves_every_route() -> None:
    told = Conditioning(torch.zeros(1, 2, 3), torch.zeros(1, 4), torch.zeros(1, 1, 2, 2))
    half = told.to(torch.device("cpu"), torch.float16)
    assert {half.context.dtype, half.vector.dtype, half.concat.dtype} == {torch.float16}


# -- configs ---------------------------------------------------------------------------------


def test_the_widths_of_the_routes_follow_from_the_embedders() -> None:
    text = replace(TINY.text[0], projection_dim=7)
    classes = ClassConfig(("cat", "dog"), width=24)
    config = replace(TINY, embedders=(text, classes))
    assert (config.context_width, config.vector_width) == (24, 7)
    assert replace(config, join="width").context_width == 48
    assert config.text == (text,)
    assert replace(config, embedders=()).context_width == 0


def test_a_config_lists_what_the_model_has(make_model: Make) -> None:
    text, classes = TINY.text[0], ClassConfig(("cat", "dog"), width=24)
    model = make_model(replace(TINY, embedders=(classes, text, text)))
    assert tuple(each.config for each in model.embedders) == model.config.embedders
    assert model.text is model.embedders[1]
    assert make_model(replace(TINY, embedders=(classes,))).text is None


def test_an_embedder_of_each_config() -> None:
    (labels,) = embedders_of([ClassConfig(("cat",), width=5)])
    assert labels.config.names == ("cat",)
    assert labels.embed([Given("cat", SIZE)]).context.shape == (1, 1, 5)


# -- inputs that are refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"prompt": 3}, "prompt"),
        ({"size": None}, "size"),
        ({"size": [16, 16]}, "size"),  # such as cannot be told apart by their hash
        ({"crop": (1,)}, "crop"),
        ({"crop": (-1, 0)}, "crop"),
        ({"original_size": (1.5, 2)}, "original_size"),
        ({"target_size": "ab"}, "target_size"),
    ],
)
def test_what_cannot_be_given_is_refused(given: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InputError) as caught:
        Given(**({"prompt": "a cat", "size": SIZE} | given))
    assert caught.value.parameter == parameter


def test_an_input_that_no_embedder_takes_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="takes no prompt") as caught:
        read((), [Given(None, SIZE), Given("a cat", SIZE)])
    assert caught.value.parameter == "prompt"
    assert len(read((), [Given(None, SIZE), Given(" ", SIZE)]).pieces) == 2


def test_the_words_are_those_of_the_first_context(make_model: Make) -> None:
    text = TINY.text[0]
    model = make_model(replace(TINY, embedders=(text, replace(text, pad=0))))
    assert model.tokenize(["a cat"]).ids.equal(model.embedders[0].tokenize(["a cat"]).ids)


# -- every route, in runs, training and the lab ----------------------------------------------


def test_a_run_is_told_all_routes_with_the_prompts_half_first(shaded: LatentDiffusion) -> None:
    wanted = shaded.condition(["a cat", Given(None, SIZE)])
    x, context, vector = heard(shaded, lambda: next(shaded.sample("a cat", **STEPS)))
    assert x.shape == (2, 5, 8, 8)
    assert torch.equal(x[:, 4:], wanted.concat)
    assert torch.equal(vector, wanted.vector)
    assert torch.equal(context, wanted.context)
    assert not torch.equal(vector[0], vector[1])


def test_a_run_without_guidance_is_told_all_routes(shaded: LatentDiffusion) -> None:
    wanted = shaded.condition(["a cat"])
    run = shaded.sample("a cat", guidance_scale=1, **STEPS)
    x, _, vector = heard(shaded, lambda: next(run))
    assert torch.equal(x[:, 4:], wanted.concat)
    assert torch.equal(vector, wanted.vector)


def test_vector_and_concat_change_the_image(shaded: LatentDiffusion) -> None:
    before = shaded.generate("a cat", **STEPS)
    with torch.no_grad():
        shaded.embedders[-1].model.weight.add_(1)
    after = shaded.generate("a cat", **STEPS)
    assert np.any(before.steps[-1].denoised != after.steps[-1].denoised)


def test_the_lab_is_told_all_routes(shaded: LatentDiffusion) -> None:
    pixels = torch.zeros(1, 3, 16, 16)
    wanted = shaded.condition(["a cat"])
    levels = forward_diffusion(shaded, pixels, "a cat", levels=2)
    x, context, vector = heard(shaded, lambda: next(levels))
    assert torch.equal(x[:, 4:], wanted.concat)
    assert torch.equal(vector, wanted.vector)
    assert torch.equal(context, wanted.context)


def test_questions_are_asked_about_the_joined_context(make_model: Make) -> None:
    text = TINY.text[0]
    wide = replace(TINY, embedders=(text, text), unet=replace(TINY.unet, context_dim=48))
    model = make_model(replace(wide, join="width"))
    from sdwidgets.settings import AttentionSettings

    settings = AttentionSettings(queries=True)
    trace = model.generate("a cat", attention=settings, **STEPS)
    assert trace.query("dog").shape == (16, 16)
    assert trace.ablate("cat").trace.settings.prompt == "a"


def test_numbers_that_break_a_vector_are_noticed(shaded: LatentDiffusion) -> None:
    with torch.no_grad():
        shaded.embedders[-1].model.weight.fill_(float("nan"))
    with pytest.raises(NumericsError, match="step 0 of 2"):
        shaded.generate("a cat", **STEPS)


def test_the_fingerprint_is_of_every_embedder(shaded: LatentDiffusion) -> None:
    before = replace(shaded).fingerprint
    with torch.no_grad():
        shaded.embedders[-1].model.weight.add_(1)
    assert replace(shaded).fingerprint != before


def task_of(model: LatentDiffusion) -> DiffusionTask:
    """Return the training of a model whose shade learns along, and whose text does not."""
    shade = model.embedders[-1]
    shade.model.requires_grad_(True)
    pictures = Few()
    return DiffusionTask(
        model=Denoising(model.unet.requires_grad_(True), [shade.model]),
        config=model.config,
        pictures=pictures,
        latents=cached_latents(model.autoencoder, pictures, len(pictures)),
        autoencoder=model.autoencoder,
        embedders=model.embedders,
        dropout=0.5,
    )


def test_training_is_told_all_routes_and_what_learns_learns(shaded: LatentDiffusion) -> None:
    task = task_of(shaded)
    draw = Draw(0, 6, seeded(0, 0))
    given = task.given(draw)
    assert {None} < {each.prompt for each in given}
    losses: dict[str, Tensor] = {}
    x, context, vector = heard(shaded, lambda: losses.update(task.loss(draw)))
    wanted = shaded.condition(given)
    assert torch.allclose(x[:, 4:], wanted.concat)
    assert torch.allclose(vector, wanted.vector)
    assert torch.equal(context, wanted.context)
    losses["loss"].backward()
    text, shade = shaded.embedders
    assert shade.model.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in text.model.parameters())


def test_a_trained_model_has_what_its_embedders_learnt(shaded: LatentDiffusion) -> None:
    task = task_of(shaded)
    before = shaded.condition(["a cat"])
    for _ in train(task, Plan(steps=3, batch_size=6, warmup=1)):
        pass
    made = task.result()
    after = made.condition(["a cat"])
    assert not torch.equal(after.vector, before.vector)
    assert torch.equal(after.context, before.context)
    assert made.embedders[-1].model is not shaded.embedders[-1].model
    assert not any(weight.requires_grad for weight in made.embedders[-1].model.parameters())
    made.generate("a cat", **STEPS)


def test_gradients_only_where_something_learns() -> None:
    shade = Shade()
    assert condition([shade], [Given("a", SIZE)]).vector.requires_grad
    with torch.no_grad():
        assert not condition([shade], [Given("a", SIZE)]).vector.requires_grad
    shade.model.requires_grad_(False)
    assert not condition([shade], [Given("a", SIZE)]).vector.requires_grad


def test_a_network_bound_to_what_it_is_told() -> None:
    unet = UNet(replace(TINY.unet, in_channels=5, context_dim=0)).eval()
    told = Conditioning(concat=torch.randn(2, 1, 4, 4))
    x, t = torch.randn(2, 4, 4, 4), torch.tensor([3.0, 3.0])
    joined = torch.cat([x, told.concat], dim=1)
    assert torch.equal(conditioned(unet, told)(x, t), unet(joined, t))
