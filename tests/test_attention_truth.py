"""Recipes choose layers and steps, and their benchmark scores the maps that the kit shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import attention_truth as truth
from benchmarks.attention_truth import Row, Sample, Score
from sdwidgets.checkpoints.load import BUNDLED
from sdwidgets.models.attention import LOOK
from sdwidgets.scenes import Placed, Scene, find_font
from sdwidgets.trace.recipe import DAAM, DEFAULT, Recipe, place_of, reduction_of
from sdwidgets.trace.tokens import PromptTokens
from sdwidgets.training.evaluate import area_under_curve

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from sdwidgets.pipeline import LatentDiffusion

ROOT = Path(__file__).resolve().parents[1]
Grids = dict[str, tuple[int, int]]


# -- recipes ---------------------------------------------------------------------------------


def stable_diffusion_1(height: int, width: int) -> Grids:
    """Return the grids of its 16 cross-attentions for latents of that size."""
    grids: Grids = {}
    for level in range(3):
        size = (height >> level, width >> level)
        grids |= {f"down_blocks.{level}.attentions.{i}": size for i in range(2)}
        grids |= {f"up_blocks.{3 - level}.attentions.{i}": size for i in range(3)}
    return grids | {"mid_block.attentions.0": (height >> 3, width >> 3)}


def test_daam_takes_every_layer_and_step() -> None:
    grids = stable_diffusion_1(64, 64)
    assert DAAM.layers(grids, (64, 64)) == list(grids)
    assert DAAM.chosen_steps(7) == list(range(7))


def test_the_default_takes_stable_diffusions_layers_of_16_by_16() -> None:
    grids = stable_diffusion_1(64, 64)
    chosen = DEFAULT.layers(grids, (64, 64))
    assert len(chosen) == 5
    assert {grids[name] for name in chosen} == {(16, 16)}


@pytest.mark.parametrize("size", [(64, 96), (96, 96), (56, 56)])
def test_the_default_stays_on_that_level_at_other_sizes(size: tuple[int, int]) -> None:
    grids = stable_diffusion_1(*size)
    chosen = DEFAULT.layers(grids, size)
    assert {place_of(name) for name in chosen} == {"down", "up"}
    assert {reduction_of(grids[name], size) for name in chosen} == {4}


def test_places_and_reductions_choose_layers() -> None:
    grids = {"down_blocks.0.a": (13, 9), "mid_block.a": (4, 3), "up_blocks.0.a": (7, 5)}
    assert Recipe(places=("mid", "up")).layers(grids, (13, 9)) == ["mid_block.a", "up_blocks.0.a"]
    assert Recipe(reductions=(2,)).layers(grids, (13, 9)) == ["up_blocks.0.a"]
    assert Recipe(reductions=(1, 4)).layers(grids, (13, 9)) == ["down_blocks.0.a", "mid_block.a"]


def test_a_recipe_of_other_networks_takes_all_layers() -> None:
    grids = {"up_blocks.0.a": (4, 4), "up_blocks.1.a": (8, 8)}
    assert Recipe(places=("down",)).layers(grids, (8, 8)) == list(grids)
    assert Recipe(reductions=(8,), cells=16).layers(grids, (8, 8)) == list(grids)
    assert Recipe(cells=16).layers({}, (8, 8)) == []


def test_steps_are_a_share_of_the_run() -> None:
    assert Recipe(steps=(0.5, 1.0)).chosen_steps(4) == [2, 3]
    assert Recipe(steps=(0.0, 0.5)).chosen_steps(3) == [0]  # the middle step is at 0.5
    assert Recipe(steps=(0.0, 0.4)).chosen_steps(1) == [0]  # no step is inside, so all count


# -- scores ----------------------------------------------------------------------------------


@pytest.fixture
def blurred() -> tuple[torch.Tensor, np.ndarray]:
    """Return a map [24, 24] that follows a mask [24, 24], but not exactly."""
    generator = np.random.default_rng(0)
    mask = np.zeros((24, 24), bool)
    mask[5:15, 8:20] = True
    return torch.from_numpy(mask + generator.normal(0, 0.5, mask.shape)).float(), mask


def test_iou_at_every_level_is_that_of_the_pixels(blurred: tuple) -> None:
    values, mask = blurred
    found = truth.ious(truth.histograms(values, mask))
    levels = ((values - values.min()) / (values.max() - values.min()) * 255).round().numpy()
    for level in (1, 100, 180, 255):
        over = levels >= level
        assert found[level] == pytest.approx((over & mask).sum() / (over | mask).sum())


def test_auc_is_that_of_the_pixels(blurred: tuple) -> None:
    values, mask = blurred
    found = truth.areas(truth.histograms(values, mask))
    assert found == pytest.approx(area_under_curve(values.numpy(), mask), abs=1e-3)


def test_a_flat_map_knows_nothing() -> None:
    mask = np.eye(8, dtype=bool)
    counts = truth.histograms(torch.full((8, 8), 0.3), mask)
    assert truth.areas(counts) == 0.5
    assert truth.ious(counts)[0] == pytest.approx(8 / 64)


def test_the_threshold_is_the_choosing_halfs() -> None:
    mask = np.eye(8, dtype=bool)
    exact = truth.histograms(torch.from_numpy(mask).float(), mask)
    inverse = truth.histograms(torch.from_numpy(~mask).float(), mask)
    groups = np.array(["choosing", "reporting"])
    one = truth.scored(Row(""), np.stack([exact, inverse]), groups)
    assert one.miou["choosing"] == 1
    assert one.miou["reporting"] == 0
    assert 0 < one.threshold <= 1


def score_of(row: Row, choosing: list[float]) -> Score:
    each = {"choosing": np.array(choosing)}
    return Score(row, 0.5, {"choosing": float(each["choosing"].mean())}, {}, each)


def test_the_simplest_recipe_of_those_as_good_is_chosen() -> None:
    whole = score_of(Row("up", Recipe(places=("up",))), [0.70, 0.72, 0.69, 0.71])
    late = score_of(Row("up", Recipe(places=("up",), steps=(0.5, 1.0))), [0.71, 0.70, 0.72, 0.70])
    worse = score_of(Row("all layers"), [0.60, 0.61, 0.60, 0.61])
    refined = score_of(Row("up", Recipe(places=("up",)), refined=1), [0.9, 0.9, 0.9, 0.9])
    assert truth.choice([worse, late, whole, refined]) is whole


# -- maps ------------------------------------------------------------------------------------

WORDS = "a cat left of two cars on blue"


def a_prompt(caption: str) -> PromptTokens:
    """Return tokens with a single piece per word."""
    spans, start = [], 0
    for word in caption.split():
        start = caption.index(word, start)
        spans.append((start, start + len(word)))
        start += len(word)
    return PromptTokens(caption, tuple(caption.split()), tuple(spans))


def test_targets_are_the_words_as_the_caption_writes_them() -> None:
    prompt = a_prompt("three buses on blue")
    scene = Scene(tuple(Placed("bus", 0, 0, 9) for _ in range(3)), "blue", prompt.prompt)
    mask = np.eye(8, dtype=bool)
    found = truth.targets_of(scene, {"bus": mask, "blue": ~mask}, prompt)
    assert [(one.kind, one.tokens) for one in found] == [("noun", (2,)), ("colour", (4,))]


def test_a_word_that_is_hidden_or_not_said_is_no_target() -> None:
    prompt = a_prompt("a cat above a dog")
    scene = Scene((Placed("cat", 0, 0, 9), Placed("dog", 0, 0, 9)), "red", prompt.prompt,
                  names_background=False)  # fmt: skip
    none, some = np.zeros((8, 8), bool), np.eye(8, dtype=bool)
    found = truth.targets_of(scene, {"cat": some, "dog": none, "red": ~some}, prompt)
    assert [one.tokens for one in found] == [(2,)]


@pytest.fixture
def sample(tiny_model: LatentDiffusion) -> Sample:
    """Return a run of the tiny model with the attention of its words."""
    recording = truth.Recording(1)
    with recording.of(tiny_model.unet):
        *_, last = tiny_model.sample(WORDS, steps=5, seed=0, guidance_scale=3.0)
    prompt = truth.prompt_of(tiny_model, WORDS)
    mask = np.eye(8, dtype=bool)
    targets = [truth.Target("noun", prompt.find(word), mask) for word in ("cat", "cars")]
    size = (last.x.shape[-2], last.x.shape[-1])
    return recording.sample("reporting", size, prompt, targets, heads=True)


@pytest.mark.parametrize("against", ["none", "words"])
@pytest.mark.parametrize("steps", [(0.0, 1.0), (0.6, 1.0)])
def test_what_is_scored_is_what_a_heat_map_shows(
    tiny_model: LatentDiffusion, sample: Sample, against: str, steps: tuple[float, float]
) -> None:
    recipe = Recipe(steps=steps, against=against)
    trace = tiny_model.generate(WORDS, steps=5, seed=0, guidance_scale=3.0, attention=True)
    width, height = trace.settings.size
    scored = truth.maps_of(sample, Row("", recipe), (height, width))
    for found, word in zip(scored, ("cat", "cars"), strict=True):
        shown = torch.from_numpy(trace.heat_map(word, recipe=recipe))
        torch.testing.assert_close(found, shown, rtol=2e-3, atol=0)  # kept in float16


def test_heads_average_to_their_layer(sample: Sample) -> None:
    for name, maps in sample.maps.items():
        heads = [values for key, values in sample.heads.items() if key.startswith(f"{name} head")]
        torch.testing.assert_close(torch.stack(heads).mean(0), maps)


def test_refining_leaves_a_flat_map_flat(sample: Sample) -> None:
    flat = torch.full((2, *sample.latents), 0.25)
    torch.testing.assert_close(truth.refine(flat, sample, [0, 1], 2), flat)


def test_after_recording_nobody_looks(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(KeyError), truth.Recording(1).of(tiny_model.unet):
        raise KeyError
    assert LOOK.get() is None


# -- results ---------------------------------------------------------------------------------


@pytest.mark.skipif(
    find_font() is None or not (BUNDLED / "emoji" / "model_index.json").is_file(),
    reason="needs the bundled model and the Noto Color Emoji font",
)
def test_the_default_finds_objects_better_than_daam() -> None:
    from sdwidgets.checkpoints import load_model

    samples = truth.all_samples(load_model("emoji", device="cpu"), 8, 0, False)
    default, daam = truth.score(samples, [Row("default", DEFAULT), Row("all layers", DAAM)])
    assert default.miou["reporting"] > daam.miou["reporting"] > 0.5
    assert default.auc["reporting"] > 0.97


def test_the_page_says_what_was_measured() -> None:
    (path, *_) = sorted((ROOT / "benchmarks" / "results").glob("attention_truth-*.json"))
    measured = json.loads(path.read_text("utf-8"))["numbers"]["rows"]
    page = (ROOT / "docs" / "attention.md").read_text("utf-8").splitlines()
    layers = (*truth.LAYERS, "down_blocks", "mid_block", "up_blocks")
    shown = [line for line in page if line[2:].startswith(layers) and "**" in line]
    assert len(shown) > 20
    assert not set(shown) - set(measured)
