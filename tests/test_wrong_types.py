"""Public calls answer values of every wrong type with our errors, and with no others."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

import sdwidgets as sdw
from sdwidgets.errors import InputError, SDWidgetsError
from sdwidgets.lab import Knock
from sdwidgets.pipeline import LatentDiffusion


class Hostile:
    """Nothing that can be asked of it has an answer."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __bool__ = __len__ = __iter__ = __repr__  # type: ignore[assignment]
    __eq__ = None  # type: ignore[assignment]
    __hash__ = object.__hash__


def odd() -> Iterator[Any]:
    """Values of many types; most of them are wrong wherever they are given."""
    latents = torch.zeros(1, 4, 8, 8)
    unwritable = np.zeros((1, 4, 8, 8), np.float32)
    unwritable.setflags(write=False)
    yield from (None, b"x", "x", "", "\ud800", "a\0b", math.nan, math.inf, 10**400, -1, True, 0.5)
    yield from ([], [[[]]], (1, 2), {"a": 1}, {1}, 1j, range(3), int, len, object(), Hostile())
    yield from (Path("nowhere/x"), (one for one in range(3)), ValueError("x"))
    yield from (latents, latents.to_sparse(), latents.to("meta"), latents.to(torch.complex64))
    yield from (latents > 0, latents.to(torch.float8_e4m3fn), latents.clone().requires_grad_())
    yield from (torch.zeros(()), torch.zeros(0), unwritable, np.array([None, {}], object))
    yield from (np.zeros(3, [("a", "f4")]), np.ma.masked_array(np.zeros((3, 3)), True))
    yield from (np.array(["a"]), np.float32("nan"), np.datetime64("2020"))


def calls(model: LatentDiffusion, folder: Path) -> dict[str, Callable[[Any], Any]]:
    """Each takes one odd value, in the place that its name says."""
    run = {"steps": 1, "seed": 1, "width": 16, "height": 16}
    trace = model.generate("a cat", attention=sdw.AttentionSettings(queries=True), **run)
    schedule = model.schedule
    manager = sdw.ModelManager()
    viewer, compare = sdw.Viewer(trace), sdw.Compare(trace, trace)
    lab = sdw.Lab()
    found: dict[str, Callable[[Any], Any]] = {
        **{
            f"Settings {name}": lambda value, name=name: sdw.Settings(**{name: value}).checked()
            for name in (one.name for one in fields(sdw.Settings))
        },
        **{
            f"heat_map {name}": lambda value, name=name: (
                trace.heat_map(**{"word": "cat", name: value})
            )
            for name in (
                "word", "step", "layer", "resolution", "head", "occurrence", "against", "scale",
                "uncond", "picture", "recipe",
            )
        },
        **{
            f"Recipe {name}": lambda value, name=name: sdw.Recipe(**{name: value})
            for name in (one.name for one in fields(sdw.Recipe))
        },
        **{
            f"query {name}": lambda value, name=name: trace.query(**{"word": "cat", name: value})
            for name in ("word", "prompt", "step", "picture", "model")
        },
        **{
            f"from_betas {name}": lambda value, name=name: (
                sdw.NoiseSchedule.from_betas(**{name: value})
            )
            for name in ("steps", "beta_start", "beta_end", "kind", "spacing", "offset")
        },
        **{
            f"schedule {name}": getattr(schedule, name)
            for name in ("sigma", "t", "default", "leading", "ddim", "dpmsolver", "karras")
        },
        **{
            f"sample {name}": lambda value, name=name: model.sample("a", **{**run, name: value})
            for name in ("image", "mask", "latents", "attention", "fit", "strength", "crop")
        },
        **{
            f"load {name}": lambda value, name=name: sdw.load(**{"name": "nowhere", name: value})
            for name in (
                "device", "dtype", "tokenizer", "config", "loras", "check_finite", "make_room"
            )
        },
        **{
            f"lab.{name}": lambda value, name=name: setattr(lab, name, value)
            for name in (
                "picture", "second", "results", "latents", "edited", "touch", "between", "noise",
                "chosen", "active", "panel", "side", "view",
            )
        },
        "sigmas": sdw.NoiseSchedule,
        "Settings.checked": lambda value: sdw.Settings().checked(value),
        "of_picture": sdw.Settings(seed=1).checked().of_picture,
        "run settings": lambda value: model.run(value) if value is not None else None,
        "run start": lambda value: model.run(sdw.Settings(**run), value),
        "tokenize": model.tokenize,
        "condition": model.condition,
        "encode": model.encode,
        "posterior": model.posterior,
        "decode": model.decode,
        "previews": model.previews,
        "previews sigma": lambda value: model.previews(np.zeros((1, 4, 8, 8)), sigma=value),
        "derived": model.derived,
        "derived unet": lambda value: model.derived(unet=value),
        "derived embedders": lambda value: model.derived(embedders=value),
        "with_autoencoder": model.with_autoencoder,
        "with_lora": model.with_lora,
        "with_lora strength": lambda value: model.with_lora("nowhere", value),
        "with_loras": model.with_loras,
        "without_lora": model.without_lora,
        "load": sdw.load,
        "load_autoencoder": sdw.load_autoencoder,
        "save": lambda value: sdw.save(value, folder / "model"),
        "read_settings": sdw.read_settings,
        "Trace.load": sdw.Trace.load,
        "Trace.of": sdw.Trace.of,
        "Trace.of run": lambda value: sdw.Trace.of([], value),
        "Trace.begun": sdw.Trace.begun,
        "record": trace.record,
        "png": trace.png,
        "prompt_of": trace.prompt_of,
        "prompt_of uncond": lambda value: trace.prompt_of(0, uncond=value),
        "chosen_steps": trace.chosen_steps,
        "ablate model": lambda value: None if value is None else trace.ablate("cat", model=value),
        "save precision": lambda value: trace.save(folder / "a.sdtrace", precision=value),
        "save_image picture": lambda value: trace.save_image(folder / "a.png", value),
        "animation view": lambda value: trace.animation(folder / "a.gif", view=value),
        "sheet views": lambda value: trace.contact_sheet(views=value, words="nothing"),
        "AttentionSettings": sdw.AttentionSettings.of,
        "options.threads": lambda value: setattr(sdw.options, "threads", value),
        "manager.add": manager.add,
        "manager.unload": manager.unload,
        "Studio": lambda value: None if value is None else sdw.Studio(value),
        "Lab model": lambda value: None if value is None else sdw.Lab(model=value),
        "Lab autoencoders": lambda value: sdw.Lab(autoencoders=value).close(),
        "Viewer": lambda value: sdw.Viewer(value).close(),
        "Compare": lambda value: sdw.Compare(trace, value),
        "link": lambda value: sdw.link(viewer, value),
        "viewer.begin": viewer.begin,
        "viewer.add": viewer.add,
        "viewer.word": lambda value: setattr(viewer, "word", value),
        "viewer.step": lambda value: setattr(viewer, "step", value),
        "viewer.flush everything": lambda value: viewer.flush(everything=value),
        "viewer.flush run": lambda value: viewer.flush(run=value),
        "viewer.end": viewer.end,
        "viewer.end message": lambda value: viewer.end("done", value),
        "viewer.end run": lambda value: viewer.end("done", run=value),
        "lab.edit": lab.edit,
        "lab.edit live": lambda value: lab.edit(Knock(0), live=value),
        "lab.show second": lambda value: lab.show(Image.new("RGB", (8, 8)), value),
        "compare.step": lambda value: setattr(compare, "step", value),
    }  # fmt: skip
    writers = [getattr(trace, name) for name in ("save", "save_image", "export_html", "animation")]
    writers.append(lambda value: sdw.save(model, value))
    for number, call in enumerate(writers):
        found[f"writer {number}"] = lambda value, call=call: (
            None if isinstance(value, (str, Path)) else call(value)
        )
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", [0.03, pytest.param(1.0, marks=pytest.mark.slow)])
def test_every_wrong_type_has_our_error(
    tiny_model: LatentDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sdw.options, "threads", sdw.options.threads)
    others = {}
    rng, refused = random.Random(0), 0
    for name, call in calls(tiny_model, tmp_path).items():
        for number, value in enumerate(odd()):
            if rng.random() > share:
                continue
            try:
                call(value)
            except (SDWidgetsError, traitlets.TraitError) as error:  # traits say what they take
                refused += 1
                if len(str(error).splitlines()) > 3:
                    others[name, number] = "too long"
            except Exception as error:
                others[name, number] = repr(error)[:200]
    assert not others, "\n".join(f"{k} {v}" for k, v in others.items())
    assert refused > 2000 * share


@pytest.mark.parametrize("name", ["picture", "results", "latents", "edited", "between", "noise"])
def test_results_of_a_lab_are_read_only(name: str) -> None:
    lab = sdw.Lab(Image.new("RGB", (64, 64), "red"), autoencoders=["KL-f8"], side=64)
    try:
        lab.wait()
        before = getattr(lab, name)
        with pytest.raises(InputError, match=rf"lab\.{name} is worked out by the Lab"):
            setattr(lab, name, before)
        assert getattr(lab, name) is before
    finally:
        lab.close()


def test_half_a_character_never_reaches_a_page() -> None:
    viewer = sdw.Viewer()
    with pytest.raises(InputError, match="half a character"):
        viewer.word = "a \ud800"
    assert viewer.word == ""
