"""What the lessons and documents say in words and numbers, computed again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sdwidgets as sdw
from sdwidgets.checkpoints.load import BUNDLED, DEFAULT
from sdwidgets.lab import to_tensor
from sdwidgets.lab.forward import forward_diffusion
from sdwidgets.metrics import psnr
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.scenes import COLORS, OBJECTS, held_out_relation
from sdwidgets.trace import DAAM, Trace

ROOT = Path(__file__).resolve().parents[1]
CAT_AND_CAR = "a cat left of a car on a blue background"
PENGUIN = "a penguin right of a boat on a blue background"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BUNDLED / DEFAULT / "model_index.json").is_file(),
        reason="the bundled model's weights are not in this checkout",
    ),
]


@pytest.fixture(scope="module")
def model() -> LatentDiffusion:
    return sdw.load()


def decibels(one: Any, other: Any) -> float:
    """PSNR between two images."""
    difference = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    return 10 * math.log10(255**2 / float(np.mean(difference**2)))


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# ------------------------------------------------------------------------------- the first lesson


def test_the_model_knows_40_objects_on_10_colours(model: LatentDiffusion) -> None:
    assert (len(OBJECTS), len(COLORS)) == (40, 10)
    assert model.vocabulary is not None
    assert set(model.vocabulary["things"]) == set(OBJECTS)
    assert "40 emoji on backgrounds of 10 colours" in text_of("notebooks/01_first_picture.ipynb")


def test_no_training_showed_a_cat_left_of_a_rocket() -> None:
    assert held_out_relation("cat", "left of", "rocket")
    assert not held_out_relation("cat", "left of", "car")


def test_eight_steps_are_much_like_fifty_and_two_are_not(model: LatentDiffusion) -> None:
    two, eight, fifty = (
        model.generate(CAT_AND_CAR, seed=7, steps=steps).image for steps in (2, 8, 50)
    )
    assert decibels(two, fifty) < 22
    assert decibels(eight, fifty) > 27


# ------------------------------------------------------------------------------ the second lesson


def test_dpmpp_2m_comes_closer_than_euler(model: LatentDiffusion) -> None:
    truth = model.generate(PENGUIN, seed=7, sampler="heun", steps=60).image
    euler, dpmpp = (
        [
            decibels(model.generate(PENGUIN, seed=7, sampler=sampler, steps=steps).image, truth)
            for steps in (5, 20)
        ]
        for sampler in ("euler", "dpmpp_2m")
    )
    assert dpmpp[0] > euler[0] + 1
    assert dpmpp[1] > euler[1] + 3


def test_heun_and_euler_come_together_and_the_ancestral_sampler_does_not(
    model: LatentDiffusion,
) -> None:
    euler, heun, ancestral = (
        model.generate(PENGUIN, seed=7, sampler=sampler, steps=20).image
        for sampler in ("euler", "heun", "euler_ancestral")
    )
    assert decibels(euler, heun) > 28
    assert max(decibels(euler, ancestral), decibels(heun, ancestral)) < 24


# ------------------------------------------------------------------------------- the third lesson


@pytest.fixture(scope="module")
def looked(model: LatentDiffusion) -> Trace:
    heads = sdw.AttentionSettings(heads=True, queries=True)
    return model.generate(CAT_AND_CAR, seed=7, attention=heads)


@pytest.fixture(scope="module")
def cat(looked: Trace) -> np.ndarray:
    """[H, W]: where the cat is, as the lesson finds it."""
    pixels = np.asarray(looked.image, dtype=float)
    found = np.abs(pixels - np.median(pixels, axis=(0, 1))).mean(axis=-1) > 25
    found[:, 64:] = False
    return found


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_the_layout_is_settled_in_the_first_step(looked: Trace) -> None:
    assert correlation(looked.heat_map("cat", 0), looked.heat_map("cat", 19)) > 0.85


def test_words_for_things_have_bright_maps_and_others_pale_ones(looked: Trace) -> None:
    largest = {word: looked.heat_map(word).max() for word in ("cat", "car", "blue", "left", "of")}
    assert min(largest["cat"], largest["car"]) > 0.4
    assert max(largest["blue"], largest["left"], largest["of"]) < 0.05
    assert largest["left"] < 0.015  # "about a hundredth"


def test_two_heads_in_the_middle_take_everything_from_left(looked: Trace) -> None:
    middle = looked.layers[3]
    assert middle.startswith("mid")
    maps = [looked.heat_map("left", layer=middle, head=head) for head in range(4)]
    assert sorted(round(float(each.min()), 2) for each in maps)[2:] == [1, 1]
    assert sorted(round(float(each.max()), 2) for each in maps)[:2] == [0, 0]


def test_one_head_looks_at_the_car_for_cat(looked: Trace, cat: np.ndarray) -> None:
    layer = looked.layers[7]
    shares = []
    for head in range(4):
        heat = looked.heat_map("cat", layer=layer, head=head)
        heat = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((128, 128)))
        shares.append(heat[cat].sum() / heat.sum())
    assert sorted(share > 0.4 for share in shares) == [False, True, True, True]
    assert min(shares) < 0.1


def test_the_default_finds_the_cat_better_than_daam(looked: Trace, cat: np.ndarray) -> None:
    def overlap(threshold: float, **recipe: Any) -> float:
        found = looked.heat_map("cat", scale="picture", **recipe) > threshold
        return float((found & cat).sum() / (found | cat).sum())

    assert overlap(0.35) > overlap(0.62, recipe=DAAM) + 0.05


def test_lesson_and_document_have_the_same_overlaps() -> None:
    lesson, document = text_of("notebooks/03_cross_attention.ipynb"), text_of("docs/attention.md")
    for number in ("0.735", "0.652"):
        assert number in lesson
        assert number in document


def test_each_cat_of_two_gets_both_words(model: LatentDiffusion) -> None:
    cats = model.generate("a cat left of a cat on a green background", seed=9, attention=True)
    assert correlation(*(cats.heat_map("cat", occurrence=i) for i in (0, 1))) > 0.95


def test_blue_has_a_pale_map_and_does_most(looked: Trace) -> None:
    done = {word: looked.ablate(word).change.mean() for word in ("cat", "blue", "of")}
    assert done["blue"] > 4 * done["cat"] > 8 * done["of"]
    assert looked.ablate("left", "right").change.mean() > done["cat"]


# ------------------------------------------------------------------------------ the fourth lesson


@pytest.fixture(scope="module")
def sample() -> tuple[Image.Image, str]:
    """The lab's first image, and its caption."""
    lab = sdw.Lab(autoencoders=["KL-f8"])
    try:
        assert lab.picture is not None
        return lab.picture.image, lab.picture.caption
    finally:
        lab.close()


def test_a_lesson_and_the_lab_measure_alike(sample: tuple[Image.Image, str]) -> None:
    autoencoder = sdw.load_autoencoder("KL-f8")
    x = to_tensor(sample[0])
    with torch.no_grad():
        rebuilt = autoencoder.decode(autoencoder.encode(x).mode()).clamp(-1, 1)
    lab = sdw.Lab(autoencoders=["KL-f8"])
    try:
        lab.wait()
        assert lab.results[0].psnr == pytest.approx(psnr(rebuilt, x).item(), abs=0.01)
    finally:
        lab.close()


def test_the_posterior_is_narrow_and_ten_times_its_noise_is_hardly_seen(
    sample: tuple[Image.Image, str],
) -> None:
    autoencoder = sdw.load_autoencoder("KL-f8")
    with torch.no_grad():
        posterior = autoencoder.encode(to_tensor(sample[0]))
        z = posterior.mode()
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        clean, *noisy = (
            autoencoder.decode(z + sigma * noise).clamp(-1, 1) for sigma in (0, 0.005, 0.05, 0.5)
        )
    assert posterior.std.mean().item() == pytest.approx(0.005, abs=0.001)
    assert [psnr(each, clean).item() for each in noisy] == pytest.approx([63, 43, 21], abs=2)


def test_a_caption_is_what_the_guess_knows_where_noise_hides_all(
    model: LatentDiffusion, sample: tuple[Image.Image, str]
) -> None:
    image, caption = sample
    x = to_tensor(image)
    told, untold = (
        {level.t: decibels(level.guess, image) for level in forward_diffusion(model, x, prompt, 6)}
        for prompt in (caption, "")
    )
    assert [*told] == [0, 200, 400, 599, 799, 999]
    assert min(told.values()) > 16
    assert min(untold[t] for t in (0, 200, 400)) > 17
    assert max(untold[t] for t in (599, 799, 999)) < 15


def test_the_autoencoder_has_attention_in_the_middle_alone() -> None:
    autoencoder = sdw.load_autoencoder("KL-f8")
    kinds = {type(module).__name__ for module in autoencoder.modules() if not [*module.children()]}
    assert {"Conv2d", "GroupNorm"} <= kinds
    attentions = [name for name, _ in autoencoder.named_modules() if name.endswith("attentions.0")]
    assert [name.split(".")[1] for name in attentions] == ["mid_block", "mid_block"]


def test_the_background_needs_three_channels_and_not_the_last(
    sample: tuple[Image.Image, str],
) -> None:
    autoencoder = sdw.load_autoencoder("KL-f8")
    changes = []
    with torch.no_grad():
        z = autoencoder.encode(to_tensor(sample[0])).mode()
        before = autoencoder.decode(z)[..., :8, :8]
        for channel in range(4):
            knocked = z.clone()
            knocked[:, channel] = 0
            after = autoencoder.decode(knocked)[..., :8, :8]
            changes.append(127.5 * (before - after).abs().mean().item())
    assert min(changes[:3]) > 1.5 * changes[3]
    assert min(changes[0], changes[2]) > 20
