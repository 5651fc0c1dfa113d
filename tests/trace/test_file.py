"""Records in files: precise as stated, never half written, never trusted unchecked."""

from __future__ import annotations

import copy
import errno
import functools
import io
import os
import pickle
import random
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from record_files import apart, places, together, wrong

import sdwidgets
from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import AttentionSettings, Settings
from sdwidgets.sources import Source
from sdwidgets.trace import (
    PromptTokens,
    StepAttention,
    Trace,
    TraceStep,
    reel,
    sealed,
    stored,
    writing,
)
from sdwidgets.trace.file import load
from sdwidgets.trace.maps import averaged, resized
from sdwidgets.trace.record import Record
from sdwidgets.trace.sealed import FILE_LIMIT, HEADER_LIMIT, Views

SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler", "attention": True}
ALL = AttentionSettings(heads=True, uncond=True, self_attention=True, queries=True)

posix = pytest.mark.skipif(os.name != "posix", reason="processes, pipes and limits of POSIX")


@pytest.fixture(scope="module")
def trace(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Trace:
    """A trace of three steps with attention, whose model is gone."""
    return make_model(TINY).generate("a cat", negative_prompt="dog", **SETTINGS)


@pytest.fixture(scope="module")
def content(trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return trace.save(tmp_path_factory.mktemp("records") / "run.sdtrace").read_bytes()


@pytest.fixture
def path(content: bytes, tmp_path: Path) -> Path:
    """A file of that trace, the only file in its folder."""
    path = tmp_path / "run.sdtrace"
    path.write_bytes(content)
    return path


def again(trace: Trace, folder: Path, **options: Any) -> Trace:
    return Trace.load(trace.save(folder / "again.sdtrace", **options))


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], Any]) -> Path:
    record, tensors = apart(path.read_bytes())
    change(record, tensors)
    path.write_bytes(together(record, tensors))
    return path


def synthetic(
    *, layers: Mapping[str, int], side: int, steps: int, columns: int, batch: int = 1
) -> Trace:
    """Return a guided run of smooth random arrays; ``layers`` maps a layer to its maps' side.

    (Noise would not compress, but nothing is compressed.)
    """
    rng = np.random.default_rng(0)

    def latents() -> np.ndarray:
        return rng.normal(size=(batch, 4, side, side)).astype(np.float32)

    def maps(cells: int) -> np.ndarray:
        coarse = rng.random((batch, 1, columns, 4, 4), dtype=np.float32)
        smooth = resized(coarse, (cells, cells))
        return (smooth / smooth.sum(2, keepdims=True)).astype(np.float16)

    taken, x = [], latents()
    for i in range(steps):
        x_next, cond, uncond = latents(), latents(), latents()
        kept = StepAttention(cross={name: maps(cells) for name, cells in layers.items()})
        denoised = uncond + 7.5 * (cond - uncond)
        sigmas = float(steps - i), float(steps - i - 1)
        taken.append(
            TraceStep(i, sigmas[0], x, denoised, sigmas[1], x_next, kept, cond, uncond, 0.5)
        )
        x = x_next
    prompt = " ".join("word" for _ in range(columns - 3))
    words = tuple((5 * i, 5 * i + 4) for i in range(columns - 3))
    tokens = PromptTokens(prompt, ("word",) * (columns - 3), words)
    pixels = rng.integers(0, 256, (8 * side, 8 * side, 3), dtype=np.uint8)
    asked = Settings(prompt=prompt, seed=0, steps=steps, width=8 * side, height=8 * side)
    return Trace(
        model="synthetic",
        task="text to image",
        settings=asked.checked(),
        tokens=(tokens,),
        steps=tuple(taken),
        images=(Image.fromarray(pixels),),
        expected=steps,
    )


SD1_LAYERS = {f"down.{i}": 64 >> (i // 2) for i in range(6)} | {"mid": 8}
SD1_LAYERS |= {f"up.{i}": 16 << (i // 3) for i in range(9)}


# -- what is kept ----------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["8-bit", "float16"])
def test_all_that_is_no_array_comes_back(trace: Trace, tmp_path: Path, precision: str) -> None:
    back = again(trace, tmp_path, precision=precision)
    for name in (
        "model", "task", "settings", "tokens", "negative_tokens", "expected", "complete", "notices",
        "versions", "fingerprint", "prediction", "prediction_source", "schedule_sigmas", "seconds",
        "total", "layers", "prompt", "cut",
    ):  # fmt: skip
        assert getattr(back, name) == getattr(trace, name), name
    for one, other in zip(trace.steps, back.steps, strict=True):
        assert (one.index, one.sigma, one.sigma_next) == (
            other.index,
            other.sigma,
            other.sigma_next,
        )
    assert np.array_equal(back.factors, trace.factors)


def test_the_sources_of_a_model_come_back(trace: Trace, tmp_path: Path) -> None:
    sources = (
        Source("model.safetensors", "0a" * 32),
        Source("owner/name", commit="b" * 40),
        Source("style.safetensors", "c" * 64, "lora", -0.5),
    )
    assert again(replace(trace, sources=sources), tmp_path).sources == sources


def test_a_file_from_before_sources_were_kept(path: Path) -> None:
    changed(path, lambda record, _: record.pop("sources"))
    loaded = Trace.load(path)
    assert loaded.sources == () and loaded.notices == ()


@pytest.mark.parametrize("precision", ["8-bit", "float16"])
def test_latents_are_off_by_what_is_stated(trace: Trace, tmp_path: Path, precision: str) -> None:
    back = again(trace, tmp_path, precision=precision)
    largest = 0.0
    for one, other in zip(trace.steps, back.steps, strict=True):
        for name in ("x", "denoised", "cond", "uncond", "x_next"):
            values, kept = getattr(one, name), getattr(other, name)
            assert kept.dtype == np.float32
            unit = {"x": 1 + one.sigma**2, "x_next": 1 + one.sigma_next**2}.get(name, 1) ** 0.5
            largest = max(largest, float(np.abs(values - kept).max() / unit))
            if name != "cond":  # cond is the sum of two kept tensors
                assert (np.abs(values - kept) <= np.abs(values) / 2047 + 1e-7 * unit).all()
    assert back.stored["precision"] == precision
    assert back.stored["largest errors"]["latents"] == pytest.approx(largest, rel=1e-3)


def test_steps_share_their_latents(trace: Trace, tmp_path: Path) -> None:
    steps = again(trace, tmp_path).steps
    assert all(one.x_next is other.x for one, other in pairwise(steps))


@pytest.mark.parametrize("attention", [True, ALL], ids=["mean", "all"])
def test_eight_bits_of_attention_are_off_by_what_is_stated(
    tiny_model: LatentDiffusion, tmp_path: Path, attention: bool | AttentionSettings
) -> None:
    trace = tiny_model.generate(["a cat", "dog"], **{**SETTINGS, "attention": attention})
    back = again(trace, tmp_path)
    largest = 0.0
    for one, other in zip(trace.steps, back.steps, strict=True):
        for kind in ("cross", "uncond", "cells"):
            assert list(getattr(one.attention, kind)) == list(getattr(other.attention, kind))
            for layer, maps in getattr(one.attention, kind).items():
                kept = getattr(other.attention, kind)[layer]
                assert kept.dtype == np.float16 and kept.shape == maps.shape
                off = np.abs(maps.astype(np.float32) - kept)
                axes = -1 if kind == "cells" else (-2, -1)
                top = maps.max(axes, keepdims=True).astype(np.float32)
                assert (off <= top / 510 + top / 2047 + 1e-7).all()
                largest = max(largest, float(off.max()))
    assert back.stored["largest errors"]["attention"] == pytest.approx(largest)
    assert back.stored["averaged"] == {} and back.stored["largest errors"]["averaging"] == 0


def test_float16_keeps_attention_as_it_was(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    trace = tiny_model.generate("a cat", **{**SETTINGS, "attention": ALL})
    back = again(trace, tmp_path, precision="float16")
    for one, other in zip(trace.steps, back.steps, strict=True):
        for kind in ("cross", "uncond", "cells"):
            for layer, maps in getattr(one.attention, kind).items():
                assert np.array_equal(getattr(other.attention, kind)[layer], maps)
    assert back.stored["largest errors"]["attention"] == 0


def test_queries_are_kept_as_they_were(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    trace = tiny_model.generate("a cat", **{**SETTINGS, "attention": ALL})
    back = again(trace, tmp_path)
    for one, other in zip(trace.steps, back.steps, strict=True):
        assert one.attention.queries.keys() == other.attention.queries.keys() != set()
        for layer, queries in one.attention.queries.items():
            kept = other.attention.queries[layer]
            assert kept.values.dtype == np.int8 and np.array_equal(kept.values, queries.values)
            assert np.array_equal(kept.scale, queries.scale)


def test_images_are_kept_exactly(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 12, 12))
    trace = tiny_model.generate("a cat", image=picture, mask=mask, batch_size=2, **SETTINGS)
    back = again(trace, tmp_path)
    pairs = zip(
        (*trace.images, trace.given_image, trace.given_mask),
        (*back.images, back.given_image, back.given_mask),
        strict=True,
    )
    for one, other in pairs:
        assert (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())
    assert back.task == "inpainting"


def test_what_a_trace_does_a_loaded_one_does(trace: Trace, tmp_path: Path) -> None:
    back = again(trace, tmp_path)
    assert back.png() == trace.png() and back.record() == trace.record()
    assert np.abs(back.heat_map("cat") - trace.heat_map("cat")).max() < 1 / 510
    shares = [one.heat_map("cat", against="words") for one in (back, trace)]
    assert np.abs(np.subtract(*shares)).max() < 0.05
    assert len(reel.pack(back.steps[0])) == len(reel.pack(trace.steps[0]))
    assert reel.header_of(back, 1) == reel.header_of(trace, 1)


def test_a_loaded_trace_can_be_copied_and_sent(trace: Trace, tmp_path: Path) -> None:
    loaded = again(trace, tmp_path)
    for back in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert type(back) is Trace and back.sources == loaded.sources
        assert np.array_equal(back.heat_map("cat"), loaded.heat_map("cat"))


def test_a_trace_knows_its_model_in_a_copy_but_not_when_sent(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", steps=1, seed=0)
    assert trace.model_ref() is copy.deepcopy(trace).model_ref() is tiny_model
    sent = pickle.loads(pickle.dumps(trace))
    assert sent.model_ref is None and sent.image.tobytes() == trace.image.tobytes()


def test_steps_stay_packed_until_they_are_used(
    path: Path, trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        stored.Tensors,
        "latents",
        lambda self, name: made.append(name) or self.tensors[name].astype(np.float32),
    )
    back = Trace.load(path)
    assert (back.size, back.layers, len(back.seconds)) == (trace.size, trace.layers, 3)
    back.chosen_steps(-1)
    assert made == []
    kept = [back.steps[1].x, back.steps[1].x, back.steps[0].x_next]
    assert kept[0] is kept[1] is kept[2] and made == ["steps.1.x"]


def test_few_of_the_arrays_of_a_long_record_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "KEPT", 50_000)
    whole = synthetic(layers={"down": 8, "up": 16}, side=8, steps=20, columns=5)
    back = again(whole, tmp_path)
    for _ in range(2):
        for one, other in zip(whole.steps, back.steps, strict=True):
            np.testing.assert_allclose(one.cond, other.cond, atol=0.01)
            np.testing.assert_allclose(
                one.attention.cross["up"], other.attention.cross["up"], atol=0.01
            )
            tensors = other._tensors
            held = sum(array.nbytes + 200 for array in tensors._made.values())
            assert held == tensors._kept <= 50_000
    first = back.steps[0]
    assert replace(first, seconds=3.0).x is first.x  # as any dataclass
    sent = pickle.loads(pickle.dumps(back))
    assert np.array_equal(sent.steps[7].denoised, back.steps[7].denoised)
    with pytest.raises(KeyError):
        first.attention.cross["middle"]


def test_a_record_of_a_loop_with_more_images_than_its_settings(tmp_path: Path) -> None:
    loop = replace(synthetic(layers={}, side=8, steps=2, columns=5, batch=3), tokens=(), images=())
    back = again(loop, tmp_path)
    assert back.batch_size == 3 and back.record(2)["settings"] == back.record(0)["settings"]


def test_steps_without_tensors_cost_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    contains = Views.__contains__
    monkeypatch.setattr(
        Views, "__contains__", lambda self, name: asked.append(1) or contains(self, name)
    )

    def grow(record: dict[str, Any], _: Any) -> None:
        one = record["steps"][0]
        record["steps"] = [{**one, "index": 10 + i} for i in range(9_000)]
        record["layers"]["cross"] = {f"layer {i}": [2, 2] for i in range(20)}
        record["expected"] = 10_000

    back = Trace.load(changed(path, grow))
    assert not back.steps and len(asked) < 50_000


def test_headers_with_more_parts_than_any_recording_are_not_parsed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "parse_object", None)
    for part in (b'"a":{"data_offsets":[0,0]},', b"0,"):
        header = b'{"__metadata__":{"sdtrace":"{\\"sha256\\":\\"' + b"0" * 64 + b'\\"}"},"x":[1'
        header += part * ((HEADER_LIMIT - 200) // len(part)) + b"]}"
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        assert "more parts than any recording" in unreadable(path)


def test_a_record_is_loaded_as_the_class_that_is_asked_for(path: Path) -> None:
    class Mine(Trace):
        pass

    assert type(Trace.load(path)) is Trace and type(Mine.load(path)) is Mine
    assert type(load(path, Record)) is Record


@pytest.mark.parametrize("precision", ["8-bit", "float16"])
@pytest.mark.parametrize("side", [16, 22, 136])
def test_saved_again_a_record_stays_the_same(
    tiny_model: LatentDiffusion, tmp_path: Path, precision: str, side: int
) -> None:
    asked = {**SETTINGS, "attention": ALL, "steps": 2, "width": side}
    first = tiny_model.generate("a cat", **asked).save(tmp_path / "a.sdtrace", precision=precision)
    second = Trace.load(first).save(tmp_path / "b.sdtrace", precision=precision)
    assert first.read_bytes() == second.read_bytes()


def test_errors_of_both_savings_are_stated(trace: Trace, tmp_path: Path) -> None:
    once = again(trace, tmp_path)
    twice = again(once, tmp_path, precision="float16")
    assert twice.stored["precision"] == "float16"
    assert twice.stored["largest errors"] == once.stored["largest errors"]


def test_large_maps_have_their_blocks_means(tmp_path: Path) -> None:
    layers = {"down.0": 64, "down.1": 45, "mid": 32}
    trace = synthetic(layers=layers, side=64, steps=1, columns=5)
    rng = np.random.default_rng(1)
    noisy = {
        name: rng.random(maps.shape).astype(np.float16)
        for name, maps in trace.steps[0].attention.cross.items()
    }
    step = replace(trace.steps[0], attention=StepAttention(cross=noisy))
    back = again(replace(trace, steps=(step,)), tmp_path)
    assert back.stored["averaged"] == {"down.0": 2, "down.1": 2}
    largest = 0.0
    for name, maps in noisy.items():
        kept = back.steps[0].attention.cross[name]
        assert kept.shape == maps.shape  # recipes choose layers by size
        largest = max(largest, float(np.abs(maps.astype(np.float32) - kept).max()))
        by = back.stored["averaged"].get(name, 1)
        assert np.abs(averaged(maps, by) - averaged(kept, by)).max() < 0.0023
    assert back.stored["largest errors"]["averaging"] == pytest.approx(largest)
    assert back.stored["largest errors"]["attention"] < 0.0023


def test_a_run_of_which_some_steps_were_kept_knows_how_long_it_took(
    trace: Trace, tmp_path: Path
) -> None:
    kept = replace(trace, steps=trace.steps[::2], run_seconds=60.0)
    assert again(kept, tmp_path).total == 60
    unknown = replace(kept, run_seconds=None)
    assert again(unknown, tmp_path).total == sum(kept.seconds)


def test_a_run_that_was_stopped(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    run = tiny_model.sample("a cat", **SETTINGS)
    back = again(Trace.of([next(run), next(run)], run), tmp_path)
    assert not back.complete and len(back.steps) == 2 and back.expected == 3
    assert back.notices == ()


def test_a_run_that_was_stopped_before_its_first_step(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    back = again(Trace.of([], tiny_model.sample("a cat", **SETTINGS)), tmp_path)
    assert back.steps == () == back.images and not back.complete
    assert back.prompt == "a cat"


def test_steps_of_someones_own_loop(tmp_path: Path) -> None:
    def latents(value: float) -> np.ndarray:
        return np.full((2, 3, 5, 7), value, np.float32)

    steps = (
        TraceStep(0, 2.0, latents(1), latents(2), 1.0, latents(3), seconds=None),
        TraceStep(4, 1.0, latents(4), latents(5), 0.0, latents(6), cond=latents(7)),
        TraceStep(5, 0.5, latents(8), latents(9), 0.0, latents(10), uncond=latents(11)),
    )
    back = again(Trace("mine", "", Settings(), steps=steps), tmp_path)
    assert back.settings == Settings()  # no seed is drawn
    assert [step.index for step in back.steps] == [0, 4, 5]
    for one, other in zip(steps, back.steps, strict=True):
        for name in ("x", "denoised", "x_next", "cond", "uncond"):
            values, kept = getattr(one, name), getattr(other, name)
            assert (values is None) == (kept is None)
            assert values is None or np.allclose(values, kept, rtol=1e-3)
    assert back.steps[0].seconds is None


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "nul \0 cat",
        "bidi \u202e",
        "👨‍👩‍👧 cat",
        '"sdtrace":"{\\"sha256\\":\\"' + "0" * 64,
        "<script>",
        "\0" * 100_000,
    ],
    ids=["empty", "nul", "bidi", "zwj", "digest", "html", "longest"],
)
def test_odd_prompts_come_back(tiny_model: LatentDiffusion, tmp_path: Path, prompt: str) -> None:
    asked = {**SETTINGS, "steps": 1}
    trace = tiny_model.generate(prompt, negative_prompt=prompt, **asked)
    back = again(replace(trace, notices=(prompt, "half \udcff")), tmp_path)
    assert back.settings == trace.settings and back.tokens == trace.tokens
    assert back.notices == (prompt, "half \udcff")


def test_the_file_is_a_safetensors_file(path: Path, trace: Trace) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(path)
    assert tensors["steps.0.x"].dtype == np.float16
    assert tensors["steps.0.x"].shape == trace.steps[0].x.shape
    assert tensors["steps.0.attention.cross.0"].dtype == np.uint8
    assert bytes(tensors["images.0"][:4]) == b"\x89PNG"


def test_the_same_trace_is_the_same_file(trace: Trace, tmp_path: Path) -> None:
    one, other = trace.save(tmp_path / "a.sdtrace"), trace.save(tmp_path / "b.sdtrace")
    assert one.read_bytes() == other.read_bytes()


# -- how large it is -------------------------------------------------------------------------


@pytest.mark.slow
def test_fifty_steps_of_stable_diffusion_take_at_most_20_mb(tmp_path: Path) -> None:
    assert sorted(SD1_LAYERS.values()) == [8] + 5 * [16] + 5 * [32] + 5 * [64]
    trace = synthetic(layers=SD1_LAYERS, side=64, steps=50, columns=15)
    path = trace.save(tmp_path / "run.sdtrace")
    assert path.stat().st_size <= 20e6
    assert Trace.load(path).heat_map("word", occurrence=0).shape == (512, 512)


def test_twenty_steps_of_the_bundled_models_shape_take_at_most_1_mb(tmp_path: Path) -> None:
    sides = {"down.0": 16, "down.1": 8, "down.2": 4, "mid": 4}
    sides |= {"up.0": 4, "up.1": 4, "up.2": 8, "up.3": 8, "up.4": 16, "up.5": 16}
    layers = {f"{name}.attentions.0.transformer_blocks.0.attn2": n for name, n in sides.items()}
    trace = synthetic(layers=layers, side=16, steps=20, columns=13)
    assert trace.save(tmp_path / "run.sdtrace").stat().st_size <= 1e6


# -- without torch ---------------------------------------------------------------------------


def python(code: str, *arguments: object) -> str:
    """Return what a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(sdwidgets.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_reading_and_writing_import_nothing_heavy(path: Path) -> None:
    code = """
        import sys
        import sdwidgets as sdw
        trace = sdw.Trace.load(sys.argv[1])
        trace.save(sys.argv[1] + ".again")
        heavy = {"torch", "transformers", "diffusers", "ipywidgets", "matplotlib", "imageio_ffmpeg"}
        print(heavy & set(sys.modules))
    """
    assert python(code, path) == "set()"


def test_a_record_is_read_where_there_is_no_torch(path: Path) -> None:
    code = """
        import sys
        for name in ("torch", "transformers", "diffusers", "tokenizers", "accelerate"):
            sys.modules[name] = None  # importing it raises
        import sdwidgets as sdw
        from sdwidgets.trace import reel
        trace = sdw.Trace.load(sys.argv[1])
        trace.save(sys.argv[1] + ".again")
        parts = (trace.heat_map("cat").shape, len(trace.steps), trace.image.size)
        print(*parts, len(trace.png()) > 0, len(reel.pack(trace.steps[0])) > 0)
    """
    assert python(code, path) == "(16, 16) 3 (16, 16) True True"


# -- whole or not at all ---------------------------------------------------------------------


def test_a_precision_that_is_not_there(trace: Trace, tmp_path: Path) -> None:
    for precision in ("4-bit", "", 8, None, "a\n" * 10**6):
        with pytest.raises(InputError, match="one of '8-bit', 'float16'") as caught:
            trace.save(tmp_path / "a.sdtrace", precision=precision)  # type: ignore[arg-type]
        assert caught.value.parameter == "precision"
        assert len(str(caught.value)) < 100
    assert list(tmp_path.iterdir()) == []


UNSAVABLE = (
    "NaN", "beyond", "other layers", "CMYK", "out of order", "steps.0.denoised", "sigma", "sampler",
)  # fmt: skip


def unsavable(trace: Trace) -> dict[str, Trace]:
    first = trace.steps[0]
    nan, huge = np.full_like(first.x, np.nan), np.full_like(first.x, 1e6)
    other = {"elsewhere": next(iter(first.attention.cross.values()))}
    picture = trace.image.convert("CMYK")

    def having(**changes: Any) -> Trace:
        return replace(trace, steps=(replace(first, **changes), *trace.steps[1:]))

    return {
        "NaN": having(denoised=nan),
        "beyond": having(denoised=huge),
        "other layers": having(attention=StepAttention(cross=other)),
        "CMYK": replace(trace, images=(picture,)),
        "out of order": replace(trace, steps=trace.steps[::-1]),
        "steps.0.denoised": having(denoised=first.denoised[..., 1:]),
        "sigma": having(sigma=float("nan")),
        "sampler": replace(trace, settings=replace(trace.settings, sampler="mine")),
    }


@pytest.mark.parametrize("what", UNSAVABLE)
def test_what_could_not_be_read_is_not_written(trace: Trace, path: Path, what: str) -> None:
    before = path.read_bytes()
    with pytest.raises(InputError, match="cannot be saved") as caught:
        unsavable(trace)[what].save(path)
    assert len(str(caught.value).splitlines()) <= 3
    assert path.read_bytes() == before


@pytest.mark.parametrize("broken", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ESTALE, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_fails_leaves_the_older_file(
    trace: Trace, path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, number: int
) -> None:
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched, pytest.raises(InputError, match="could not be written"):
        patched.setattr(os, broken, fail)
        replace(trace, model="another").save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_disk_leaves_the_older_file(
    trace: Trace, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    full = functools.partial(open, "/dev/full", "wb")
    with monkeypatch.context() as patched, pytest.raises(InputError, match="No space left"):
        patched.setattr(writing, "open", lambda *_: full(), raising=False)
        replace(trace, model="another").save(path)
    assert path.read_bytes() == before


@posix
def test_a_limit_of_file_size_leaves_the_older_file(path: Path) -> None:
    code = """
        import resource, sys
        from dataclasses import replace
        import sdwidgets as sdw
        trace = sdw.Trace.load(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            replace(trace, model="another").save(sys.argv[1])
        except sdw.InputError as error:
            print(error.parameter, sdw.Trace.load(sys.argv[1]).model, trace.heat_map("cat").shape)
    """
    assert python(code, path) == "path tiny (16, 16)"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_folder_that_is_gone(trace: Trace, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    path = trace.save(folder / "a.sdtrace")
    path.unlink()
    folder.rmdir()
    with pytest.raises(InputError, match="could not be written") as caught:
        trace.save(path)
    assert caught.value.parameter == "path"


@posix
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_never_replaced(trace: Trace, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.sdtrace"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/null"),
        "folder": path.mkdir,
    }[kind]()
    mode = path.lstat().st_mode
    with pytest.raises(InputError, match="exists and is not a file"):
        trace.save(path)
    assert path.lstat().st_mode == mode


@posix
def test_a_link_is_replaced_and_what_it_names_is_left(trace: Trace, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / "a.sdtrace").symlink_to(other)
    trace.save(tmp_path / "a.sdtrace")
    assert other.read_text() == "precious"
    assert Trace.load(tmp_path / "a.sdtrace").model == "tiny"


@posix
def test_a_new_record_is_for_its_owner_alone(trace: Trace, tmp_path: Path) -> None:
    assert stat.S_IMODE(trace.save(tmp_path / "a.sdtrace").stat().st_mode) == 0o600


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o600])
def test_a_record_has_the_permissions_of_the_one_it_replaces(
    trace: Trace, path: Path, mode: int
) -> None:
    path.chmod(mode)
    assert stat.S_IMODE(trace.save(path).stat().st_mode) == mode


@posix
def test_permissions_are_not_those_of_what_a_link_names(trace: Trace, tmp_path: Path) -> None:
    (tmp_path / "other").touch(0o666)
    (tmp_path / "a.sdtrace").symlink_to(tmp_path / "other")
    saved = trace.save(tmp_path / "a.sdtrace")
    assert stat.S_IMODE(saved.lstat().st_mode) == 0o600


def test_a_disk_without_permissions_is_written_all_the_same(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(Path, "chmod", refuse)
    assert Trace.load(trace.save(tmp_path / "a.sdtrace")).model == "tiny"


@posix
def test_a_link_to_a_record_is_followed(path: Path) -> None:
    link = path.with_name("link.sdtrace")
    link.symlink_to(path)
    assert Trace.load(link).model == "tiny"


@posix
@pytest.mark.slow
def test_killed_at_any_moment_there_is_a_whole_record(path: Path) -> None:
    code = """
        import itertools, os, random, signal, sys, time
        from dataclasses import replace
        import sdwidgets as sdw
        path = sys.argv[1]
        trace = sdw.Trace.load(path)
        seen, tell = os.pipe()
        for trial in range(40):
            child = os.fork()
            if not child:
                for number in itertools.count():
                    replace(trace, model=f"{trial} {number}").save(path)
                    os.write(tell, b"." if number == 0 else b"")
            os.read(seen, 1)
            time.sleep(random.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            found = sdw.Trace.load(path)
            assert found.model.split()[0] == str(trial) and len(found.steps) == 3
        print("whole")
    """
    assert python(code, path) == "whole"


@posix
def test_of_two_that_write_one_name_one_wins(path: Path) -> None:
    code = """
        import os, sys
        from dataclasses import replace
        import sdwidgets as sdw
        path = sys.argv[1]
        trace = sdw.Trace.load(path)
        children = []
        for name in ("one", "other"):
            children.append(os.fork())
            if not children[-1]:
                mine = replace(trace, model=name, steps=trace.steps[: 2 + (name == "one")])
                for _ in range(40):
                    mine.save(path)
                os._exit(0)
        seen = set()
        while children:
            done, _ = os.waitpid(children[0], os.WNOHANG)
            children = children[1:] if done else children
            found = sdw.Trace.load(path)
            seen.add((found.model, len(found.steps)))
        print(seen <= {("tiny", 3), ("one", 3), ("other", 2)}, found.model != "tiny")
    """
    assert python(code, path) == "True True"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# -- nothing is trusted ----------------------------------------------------------------------


def unreadable(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        Trace.load(path)
    assert caught.value.parameter == "path"
    message = str(caught.value)
    assert len(message.splitlines()) <= 3 and path.name in message
    return message


@pytest.mark.slow
def test_every_changed_byte_is_found(content: bytes, path: Path) -> None:
    rng = random.Random(0)
    with open(path, "r+b", buffering=0) as file:
        for _ in range(10_000):
            # half of them in the header, which decides most
            place = rng.randrange(rng.choice((len(content), int.from_bytes(content[:8], "little"))))
            file.seek(place)
            file.write(bytes([content[place] ^ rng.randrange(1, 256)]))
            with pytest.raises(InputError):
                Trace.load(path)
            file.seek(place)
            file.write(content[place : place + 1])
    assert len(Trace.load(path).steps) == 3


def test_a_file_that_was_cut_is_told_so(content: bytes, path: Path) -> None:
    header = 8 + int.from_bytes(content[:8], "little")
    for length in (header, header + 1, (header + len(content)) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        said = f"is cut: it has {length:,} bytes, its header promises {len(content):,}"
        assert said in unreadable(path)
    for length in (600, header - 1):
        path.write_bytes(content[:length])
        assert f"is cut: it has {length:,} bytes, its header alone" in unreadable(path)
    for length in (0, 1, 7, 8, 9):
        path.write_bytes(content[:length])
        assert "run.sdtrace' is " in unreadable(path)


def test_a_file_that_goes_on_is_damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")
    assert "its header promises" in unreadable(path)


def foreign() -> dict[str, bytes]:
    objects, arrays, tensors = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(objects, x=np.array([{}], dtype=object))
    np.save(arrays, np.zeros(3))
    Image.new("RGB", (2, 2)).save(tensors, "PNG")
    from safetensors.numpy import save

    return {
        "a Python pickle": pickle.dumps({"x": 1}),
        "a zip archive": objects.getvalue(),
        "a NumPy array": arrays.getvalue(),
        "a PNG image": tensors.getvalue(),
        "a web page": b"\n <!DOCTYPE html><html>Log in" + b" " * 600,
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a JSON text": b'{"nbformat": 4}',
        "a safetensors file, but not a recording": save({"x": np.zeros(3)}, {"format": "pt"}),
        "not a recording": bytes(600),
    }


@pytest.mark.parametrize("what", foreign())
def test_another_kind_of_file_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "run.sdtrace"
    path.write_bytes(foreign()[what])
    assert f"is {what}" in unreadable(path)


@posix
@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing", "loop", "\0"])
def test_only_a_file_is_read_and_nothing_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"run{kind if kind == chr(0) else ''}.sdtrace"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
    }.get(kind, lambda: None)()
    with pytest.raises(InputError, match="path of a file" if kind == "\0" else "run") as caught:
        Trace.load(path)
    assert caught.value.parameter == "path"


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    os.truncate(path, FILE_LIMIT + 1)  # a sparse file takes no space
    assert "has 1,000,000,001 bytes; a recording has at most 1,000,000,000" in unreadable(path)


def test_a_header_that_is_too_large_is_not_read(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes((HEADER_LIMIT + 1).to_bytes(8, "little") + content[8:])
    os.truncate(path, HEADER_LIMIT + 100)
    assert "not a recording" in unreadable(path)


def test_a_newer_version_is_told(path: Path) -> None:
    changed(path, lambda record, _: record.update(format=2))
    assert "newer version of sdwidgets: format 2, this one reads 1" in unreadable(path)


def test_what_a_newer_version_added_is_left_out(path: Path, trace: Trace) -> None:
    def add(record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        record["mood"] = {"happy": True}
        record["settings"]["mood"] = 2
        tensors["../../etc/passwd"] = tensors["/steps.0.x"] = np.zeros(3, np.float32)

    back = Trace.load(changed(path, add))
    (notice,) = back.notices
    for name in ("mood", "settings.mood", "../../etc/passwd", "/steps.0.x"):
        assert name in notice
    assert back.settings == trace.settings and back.complete


@pytest.mark.parametrize(
    ("lost", "played", "said"),
    [
        ("steps.2.denoised", [0, 1], "step 2."),
        ("steps.2.x", [0], "step 1, step 2."),
        ("steps.2.x_next", [0, 1], "step 2."),
        ("steps.0.uncond", [1, 2], "step 0."),
        ("steps.1.attention.cross.0.scale", [0, 2], "step 1."),
        ("images.0", [0, 1, 2], "images.0."),
    ],
)
def test_what_is_missing_is_told_and_the_rest_is_played(
    path: Path, lost: str, played: list[int], said: str
) -> None:
    back = Trace.load(changed(path, lambda _, tensors: tensors.pop(lost)))
    assert [step.index for step in back.steps] == played
    assert back.notices == (f"Missing in the file: {said}",) and not back.complete
    assert back.heat_map("cat").shape == (16, 16)


@pytest.mark.parametrize("what", wrong())
@pytest.mark.slow
def test_a_record_that_lies_is_refused(path: Path, what: str) -> None:
    changed(path, wrong()[what])
    assert "is damaged: " in unreadable(path)


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',
        b'{"a":{"dtype":"F32","shape":[1]}',
        b'{"a":{"data_offsets":[0,1e999]}',
        b'{"a":{"data_offsets":[0,"4"]}',
        b'{"a":[]',
        b'{"a":NaN',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' + b"9" * 10_000,
    ],
    ids=["tensor", "no place", "infinity", "text", "list", "nan", "deep", "digits"],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: bytes) -> None:
    header += b',"__metadata__":{"sdtrace":"{\\"sha256\\":\\"' + b"0" * 64 + b'\\"}"}}'
    path = tmp_path / "run.sdtrace"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    unreadable(path)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from([-1, 0, 2**63, 10**400, 1e308, "images.0", "x", "float16", "8-bit"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.slow
def test_whatever_a_record_says_it_is_read_or_refused(path: Path, data: st.DataObject) -> None:
    record, tensors = apart(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(places(record)))
        inside = record
        for key in way:
            inside = inside[key]
        inside[last] = data.draw(ODD)
    odd = path.with_name("odd.sdtrace")
    odd.write_bytes(together(record, tensors))
    try:
        back = Trace.load(odd)
    except InputError:
        return
    for step in back.steps:
        assert np.isfinite(step.x).all() and step.x.shape == back.steps[0].x.shape


def test_no_path_user_or_token_is_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from checkpoint_files import write_folder

    from sdwidgets.checkpoints import load_model

    for name in ("USER", "LOGNAME", "HOME", "HF_TOKEN"):
        monkeypatch.setenv(name, f"/secret{name}")
    folder = write_folder(tmp_path / "private" / "model")
    picture = Image.new("RGB", (16, 16), "red")
    picture.info["comment"] = picture.info["icc_profile"] = b"secretGPS"
    trace = load_model(folder).generate("a cat", image=picture, **SETTINGS)
    content = trace.save(tmp_path / "private" / "run.sdtrace").read_bytes()
    assert len(trace.record()["sources"]) == 3  # with file names but not folders
    for private in (b"private", b"secret", str(tmp_path).encode(), str(Path.cwd()).encode()):
        assert private not in content and private not in trace.png()
        assert private not in repr((trace, trace.sources)).encode()


def test_noise_that_is_not_from_the_seed_is_kept(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    path = tiny_model.generate("a cat", steps=2, seed=0, latents=noise).save(tmp_path / "a.sdtrace")
    loaded = Trace.load(path)
    assert np.array_equal(loaded.given_latents, noise)
    assert loaded.ablate("cat", "cat", model=tiny_model).change.max() == 0


def test_a_branch_with_a_longer_prompt_is_kept(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    trace = tiny_model.generate("a cat", attention=True, steps=3, seed=1)
    branch = trace.branch(2, prompt="a cat left of a dog and a bird")
    loaded = Trace.load(branch.save(tmp_path / "branch.sdtrace"))
    for mine, theirs in zip(branch.steps, loaded.steps, strict=True):
        for layer, maps in mine.attention.cross.items():
            assert maps.shape == theirs.attention.cross[layer].shape
