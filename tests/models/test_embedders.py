"""Models with classes, or without conditioning: prompts in, images out, as with a text encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sdwidgets import Trace, load, save
from sdwidgets.configs import (
    TINY,
    BertConfig,
    ClassConfig,
    EmbedderConfig,
    GuidanceConfig,
    ModelConfig,
    SizesConfig,
)
from sdwidgets.errors import InputError
from sdwidgets.manager import ModelManager, Request
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.conditioning import Given, condition, read
from sdwidgets.models.embedders import ClassLabels, embedders_of
from sdwidgets.models.layers import timestep_embedding
from sdwidgets.models.unet import UNet
from sdwidgets.pipeline import LatentDiffusion, noise_schedule
from sdwidgets.settings import Settings

NAMES = ("cat", "dog", "Fire Truck")
CLASSES = ClassConfig(NAMES, 24)


def model_of(*embedders: EmbedderConfig) -> LatentDiffusion:
    torch.manual_seed(0)
    config = replace(TINY, embedders=embedders)
    config = replace(config, unet=replace(TINY.unet, context_dim=config.context_width))
    return LatentDiffusion(
        config,
        UNet(config.unet),
        Autoencoder(config.autoencoder),
        embedders_of(embedders),
        noise_schedule(config.schedule),
    )


def given(prompt: str | None) -> Given:
    return Given(prompt, (16, 16))


@pytest.fixture
def classes() -> LatentDiffusion:
    return model_of(CLASSES)


@pytest.fixture
def silent() -> LatentDiffusion:
    return model_of()


def test_a_class_is_one_token_and_nothing_is_the_null_class() -> None:
    labels = ClassLabels(CLASSES)
    batch = [given("dog"), given(""), given(" fire  truck "), given(None)]
    assert labels.tokens(batch).ids.tolist() == [[1], [3], [2], [3]]
    context = condition([labels], batch).context
    assert context.shape == (4, 1, 24)
    assert torch.equal(context[1, 0], labels.model.embedding.weight[3])


def test_a_prompt_that_names_no_class_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'cta' is not a class\. Did you mean 'cat'\?"):
        ClassLabels(CLASSES).tokens([given("cta")])


def test_a_label_is_a_class_before_the_prompt() -> None:
    labels = ClassLabels(CLASSES)
    batch = [replace(given("cat"), label="DOG"), replace(given(None), label="fire truck")]
    assert labels.tokens(batch).ids.tolist() == [[1], [2]]
    with pytest.raises(InputError, match=r"'dgo' is not a class\. Did you mean 'dog'") as caught:
        labels.tokens([replace(given("cat"), label="dgo")])
    assert caught.value.parameter == "label"


def test_words_that_berts_vocabulary_does_not_have_are_named() -> None:
    model = model_of(BertConfig(width=24, layers=1, heads=2, head_width=12))
    run = model.sample("a 🐱 and a cat", steps=2)
    (notice,) = (each for each in run.notices if "vocabulary" in each)
    assert notice == "The prompt has 🐱, which the model's vocabulary does not have."


def test_a_label_goes_toward_another_class() -> None:
    labels = ClassLabels(CLASSES)
    table = labels.model.embedding.weight
    half = replace(given(""), label="cat", toward=("dog", 0.5))
    context = condition([labels], [half]).context
    assert context is not None
    assert torch.allclose(context[0, 0], table[:2].mean(0), atol=1e-4)


def test_a_table_without_a_null_class_needs_a_label() -> None:
    (labels,) = embedders_of([replace(CLASSES, null=False)])
    assert labels.model.embedding.weight.shape == (3, 24)
    with pytest.raises(InputError, match="no null class") as caught:
        labels.tokens([given(None)])
    assert caught.value.parameter == "label"


def test_sizes_are_a_vector_of_six_numbers_heights_first() -> None:
    (sizes,) = embedders_of([SizesConfig(4)])
    plain = Given("a cat", (64, 32))
    spelled = Given("a cat", (64, 32), original_size=(64, 32), crop=(0, 0), target_size=(64, 32))
    other = Given("a cat", (64, 32), original_size=(7, 5), crop=(3, 2), target_size=(11, 9))
    vector = condition([sizes], [plain, spelled, other]).vector
    assert vector.shape == (3, 24)
    assert torch.equal(vector[0], vector[1])
    numbers = torch.tensor([5.0, 7.0, 2.0, 3.0, 9.0, 11.0])
    assert torch.equal(vector[2].view(6, 4), timestep_embedding(numbers, 4))


def test_a_refiner_is_told_an_aesthetic_score_in_place_of_the_target_size() -> None:
    (sizes,) = embedders_of([SizesConfig(8, score=True)])
    given = Given("a cat", (64, 32), original_size=(7, 5), crop=(3, 2), aesthetic_score=2.5)
    numbers = torch.tensor([5.0, 7.0, 2.0, 3.0, 2.5])
    told = sizes.embed([given, replace(given, aesthetic_score=None)]).vector
    assert torch.equal(told[0], timestep_embedding(numbers, 8).flatten())
    numbers[-1] = 6.0  # the usual score
    assert torch.equal(told[1], timestep_embedding(numbers, 8).flatten())
    with pytest.raises(InputError, match="takes no target_size"):
        read([sizes], [replace(given, prompt=None, target_size=(64, 32))])


def test_features_of_the_guidance_scale() -> None:
    (guidance,) = embedders_of([GuidanceConfig(6)])
    batch = [Given("a cat", (16, 16), guidance_scale=8.5), given("a cat")]
    told = condition([guidance], batch).guidance
    angles = [7500 * 10000 ** -(i / 2) for i in range(3)]  # from 1 to 1/10000
    wanted = torch.tensor([[*map(math.sin, angles), *map(math.cos, angles)], [0, 0, 0, 1, 1, 1]])
    assert torch.allclose(told, wanted, atol=2e-3)  # 7500 radians have few digits left in float32


@pytest.mark.parametrize("name", ["original_size", "crop", "target_size"])
def test_sizes_are_refused_by_a_model_that_is_not_told_of_them(
    name: str, silent: LatentDiffusion
) -> None:
    with pytest.raises(InputError, match=f"takes no {name}") as caught:
        silent.sample(steps=2, **{name: (8, 8)})
    assert caught.value.parameter == name


def test_a_text_that_says_nothing_is_zeros_where_the_config_says_so(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> None:
    text = replace(TINY.text[0], projection_dim=6)
    for zeros in (False, True):
        model = make_model(replace(TINY, embedders=(replace(text, zeros=zeros),)))
        told = condition(model.embedders, [given(None), given(""), given("a cat")])
        assert told.vector.shape == (3, 6)
        assert [bool(row.any()) for row in told.context] == [not zeros, True, True]
        assert [bool(row.any()) for row in told.vector] == [not zeros, True, True]
        assert torch.equal(told.context[0], told.context[1]) != zeros


def test_the_class_changes_the_picture(classes: LatentDiffusion) -> None:
    cat, dog = (classes.generate(name, steps=2, seed=0) for name in ("cat", "dog"))
    assert np.any(np.asarray(cat.image) != np.asarray(dog.image))


def test_guidance_leads_away_from_the_null_class(classes: LatentDiffusion) -> None:
    (step, *_) = classes.sample("cat", steps=2, seed=0, guidance_scale=4.0)
    (null, *_) = classes.sample("", steps=2, seed=0, guidance_scale=1.0)
    assert step.uncond is not None
    assert torch.allclose(step.uncond, null.denoised, rtol=1e-3, atol=1e-3)


def test_a_record_of_a_class_has_no_words_and_comes_back(
    classes: LatentDiffusion, tmp_path: Path
) -> None:
    trace = classes.generate("cat", steps=2, seed=0, attention=True)
    trace.save(tmp_path / "cat.sdtrace")
    again = Trace.load(tmp_path / "cat.sdtrace")
    assert again.settings.prompt == "cat"
    assert again.tokens[0].words == ()
    assert not again.layers


def test_a_model_without_prompts_makes_pictures(silent: LatentDiffusion) -> None:
    trace = silent.generate(steps=2, seed=0, attention=True)
    assert trace.image.size == (16, 16)
    assert trace.complete


def test_a_model_without_prompts_takes_none(silent: LatentDiffusion) -> None:
    with pytest.raises(InputError, match="takes no prompt"):
        silent.sample("a cat", steps=2)


@pytest.mark.parametrize("kind", ["classes", "silent"])
def test_such_a_model_is_saved_and_loaded(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model: LatentDiffusion = request.getfixturevalue(kind)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model", device="cpu")
    assert again.config == model.config
    assert again.fingerprint == model.fingerprint


def test_a_model_in_memory_runs_by_its_name(classes: LatentDiffusion) -> None:
    with ModelManager() as manager:
        name = manager.add(classes, "mine")
        job = manager.submit(Request(name, Settings(prompt="cat", steps=2, seed=0)))
        trace = job.result()
        assert name in manager.available()
        alone = classes.generate("cat", steps=2, seed=0)
        assert np.array_equal(np.asarray(trace.image), np.asarray(alone.image))
