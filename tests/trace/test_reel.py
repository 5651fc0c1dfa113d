"""A run's bytes for the page: headers and frames, read by reel.py's description alone."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import AttentionSettings
from sdwidgets.trace import DAAM, Recipe, Trace, TraceStep
from sdwidgets.trace.reel import film, header_of, pack, quantised

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}


def unpack(frame: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray], list[np.ndarray]]:
    """Return (the JSON, latents by name, the maps of each layer [B, T, h, w])."""
    n = int.from_bytes(frame[:4], "little")
    meta = json.loads(frame[4 : 4 + n])
    at = 4 + n
    assert at % 4 == 0

    def take(dtype: str, shape: list[int]) -> np.ndarray:
        nonlocal at
        count = math.prod(shape)
        values = np.frombuffer(frame, dtype, count, at).reshape(shape)
        at += -(-values.nbytes // 4) * 4
        return values

    latents = {name: take("<f2", meta["size"]) for name in meta["parts"] if name != "attention"}
    maps = []
    for grid in meta["grids"]:
        scale = take("<f4", [meta["size"][0], meta["tokens"]])
        levels = take("<u1", [*scale.shape, *grid])
        maps.append(levels / 255 * scale[..., None, None])
    assert at == len(frame)
    return meta, latents, maps


@pytest.fixture
def trace(tiny_model: LatentDiffusion) -> Trace:
    return tiny_model.generate(
        ["a cat", "the dog"], negative_prompt="bird", attention=True, width=22, **SETTINGS
    )


def test_a_frame_has_the_latents_of_a_step(trace: Trace) -> None:
    step = trace.steps[1]
    meta, latents, _ = unpack(pack(step))
    assert (meta["index"], meta["sigma"], meta["seconds"]) == (1, step.sigma, step.seconds)
    assert meta["size"] == list(step.x.shape)
    assert list(latents) == ["x", "denoised", "uncond", "difference"]
    near = {"atol": 2e-3, "rtol": 1e-3}
    assert np.allclose(latents["x"], step.x / math.sqrt(1 + step.sigma**2), **near)
    assert np.allclose(latents["denoised"], step.denoised, **near)
    assert np.allclose(latents["uncond"], step.uncond, **near)
    assert np.allclose(latents["difference"], step.cond - step.uncond, **near)


def test_guidance_of_any_scale_is_a_line_through_the_halves(trace: Trace) -> None:
    step = trace.steps[1]
    _, latents, _ = unpack(pack(step))
    halves = latents["uncond"].astype(np.float32), 3 * latents["difference"].astype(np.float32)
    rounding = (abs(halves[0]) + abs(halves[1])) / 1024  # of 16 bits, twice what it can be
    assert (abs(halves[0] + halves[1] - step.denoised) <= rounding + 1e-5).all()


def test_a_frame_has_every_layers_maps_in_eight_bits(trace: Trace) -> None:
    step = trace.steps[2]
    meta, _, maps = unpack(pack(step))
    assert len(maps) == len(meta["grids"]) == len(trace.layers)
    for recorded, packed in zip(step.attention.cross.values(), maps, strict=True):
        wanted = recorded.astype(np.float32).mean(1)
        assert np.abs(packed - wanted).max() <= wanted.max() / 510 + 1e-6


def test_heads_apart_are_averaged_for_the_page(tiny_model: LatentDiffusion) -> None:
    settings = AttentionSettings(heads=True)
    trace = tiny_model.generate("a cat", attention=settings, **SETTINGS)
    _, _, maps = unpack(pack(trace.steps[0]))
    first = trace.steps[0].attention.cross[trace.layers[0]]
    assert maps[0].shape == (1, *first.shape[2:])


def test_without_guidance_and_attention_a_frame_has_less(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", guidance_scale=1.0, **SETTINGS)
    meta, latents, maps = unpack(pack(trace.steps[0]))
    assert list(latents) == ["x", "denoised"] and maps == [] and meta["tokens"] == 0


@pytest.mark.parametrize(("size", "small"), [((64, 40), (32, 20)), ((33, 50), (17, 25))])
def test_what_is_too_large_is_averaged_down(size: tuple[int, int], small: tuple[int, int]) -> None:
    x = np.ones((1, 4, *size), np.float32)
    meta, latents, _ = unpack(pack(TraceStep(0, 0.0, x, x, 0.0, x), longest=32))
    assert meta["size"] == [1, 4, *small]
    assert (latents["x"] == 1).all()


@pytest.mark.parametrize("longest", [64, 2])
def test_parts_packed_apart_are_those_packed_together(trace: Trace, longest: int) -> None:
    step = trace.steps[1]
    whole, latents, maps = unpack(pack(step, longest=longest))
    first, stage, none = unpack(pack(step, longest=longest, parts=("x", "denoised")))
    more, inside, apart = unpack(
        pack(step, longest=longest, parts=("uncond", "difference", "attention"))
    )
    assert (none, first["tokens"]) == ([], 0)
    assert first["index"] == more["index"] and first["size"] == more["size"] == whole["size"]
    assert [*first["parts"], *more["parts"]] == whole["parts"]
    for name, values in {**stage, **inside}.items():
        assert np.array_equal(values, latents[name])
    assert all(np.array_equal(one, other) for one, other in zip(apart, maps, strict=True))


def test_eight_bits_keep_the_greatest_value_and_nothing() -> None:
    scale, levels = quantised(np.array([[[0.0, 0.5]], [[0.0, 0.0]]], np.float32))
    assert scale.tolist() == [0.5, 0] and levels.tolist() == [[[0, 255]], [[0, 0]]]


def test_a_film_is_frames_with_their_lengths(trace: Trace) -> None:
    frames = [pack(step) for step in trace.steps]
    content = film(frames)
    found = []
    while content:
        n = int.from_bytes(content[:4], "little")
        found.append(content[4 : 4 + n])
        content = content[4 + n :]
    assert found == frames


# -- headers ---------------------------------------------------------------------------------


def test_a_header_says_what_was_asked(trace: Trace) -> None:
    header = json.loads(json.dumps(header_of(trace, 5)))
    assert (header["v"], header["run"], header["model"], header["steps"]) == (1, 5, "tiny", 3)
    assert (header["width"], header["height"]) == (22, 16)
    assert header["guided"] and header["guidance_scale"] == 3.0 and header["guidance_rescale"] == 0
    assert np.allclose(header["factors"], trace.factors)
    assert [picture["prompt"] for picture in header["pictures"]] == ["a cat", "the dog"]
    assert [picture["seed"] for picture in header["pictures"]] == [1, 2]
    assert header["pictures"][0]["words"][1] == {"text": "cat", "tokens": [2], "start": 2, "end": 5}
    assert len(header["schedule_sigmas"]) == 100


def test_a_header_names_layers_and_those_of_the_recipe(trace: Trace) -> None:
    header = header_of(trace, 1, recipe=Recipe(places=("mid",), steps=(0.5, 1.0)))
    assert [layer["name"] for layer in header["layers"]] == list(trace.layers)
    assert len({layer["label"] for layer in header["layers"]}) == len(trace.layers)
    chosen = [header["layers"][i]["place"] for i in header["recipe"]["layers"]]
    assert chosen == ["mid"] and header["recipe"]["steps"] == [0.5, 1.0]
    every = header_of(trace, 1, recipe=DAAM)["recipe"]["layers"]
    assert every == list(range(len(trace.layers)))


def test_before_the_first_step_a_header_has_no_layers(tiny_model: LatentDiffusion) -> None:
    header = header_of(Trace.begun(tiny_model.sample("a cat", attention=True, **SETTINGS)), 1)
    assert header["layers"] == [] and header["steps"] == 3 and header["guided"]


def test_of_steps_without_a_run_the_header_knows_their_size() -> None:
    from sdwidgets.settings import Settings

    x = np.zeros((1, 3, 6, 8), np.float32)
    header = header_of(Trace("", "", Settings(), steps=(TraceStep(0, 1.0, x, x, 0.0, x),)), 1)
    assert (header["width"], header["height"], len(header["factors"])) == (8, 6, 4)
    assert not header["guided"] and header["pictures"] == []
