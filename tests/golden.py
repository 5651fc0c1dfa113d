"""The data that Python and the page send each other, with the numbers that follow from it.

``python tests/golden.py`` writes js/test/golden.json, js/test/golden.test.ts reads it, and
test_golden.py checks that Python still sends it. It is made of whole numbers and fractions of two,
so that every machine rounds it in the same way.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

from sdwidgets.lab.edited import Edited
from sdwidgets.lab.edits import Paint, Scale
from sdwidgets.lab.history import History
from sdwidgets.lab.latents import CodeMap, Latents, Statistics
from sdwidgets.lab.receptive_field import ReceptiveField
from sdwidgets.lab.reconstruction import Reconstruction
from sdwidgets.settings import Settings
from sdwidgets.trace import PromptTokens, Recipe, StepAttention, Trace, TraceStep
from sdwidgets.trace.images import preview_rgb
from sdwidgets.trace.reel import film, header_of, pack
from sdwidgets.widgets import lab_wire
from sdwidgets.widgets.curve import Curve

PATH = Path(__file__).resolve().parents[1] / "js" / "test" / "golden.json"

SHAPE = (2, 4, 3, 4)  # [B, C, h, w]
GRIDS = {"down_blocks.0": (3, 4), "mid_block": (2, 2), "up_blocks.0": (3, 4)}
TOKENS = 6  # the start, at most three pieces, the end, the padding
RECIPE = Recipe(against="words")


def golden() -> dict[str, Any]:
    """Return everything, for `json.dumps` with `as_json`."""
    return {
        "run": _run(),
        "curve": _curve(),
        "colormaps": _colormaps(),
        "lab": _lab(),
        "asked": _asked(),
    }


def as_json(value: object) -> object:
    """Return bytes as in exported pages, and arrays as flat lists."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return [round(float(number), 5) for number in value.ravel()]
    raise TypeError(f"a {type(value).__name__} is no JSON")


def trace() -> Trace:
    """Return two steps of two guided images, with the attention of three layers."""
    prompts = (
        PromptTokens("a cat", ("a", "cat"), ((0, 1), (2, 5)), "", 77),
        PromptTokens("ducks swim", ("du", "cks", "swim"), ((0, 2), (2, 5), (6, 10)), " far", 77),
    )
    settings = Settings(
        prompt=tuple(prompt.prompt for prompt in prompts),
        negative_prompt=("", "rain"),
        steps=2,
        sampler="euler",
        guidance_scale=3.0,
        seed=(7, 8),
        width=16,
        height=12,
        batch_size=2,
    )
    made = tuple(
        TraceStep(
            index=i,
            sigma=sigma,
            x=_latents(i),
            denoised=_latents(i + 2),
            sigma_next=after,
            x_next=_latents(i + 1),
            attention=StepAttention({name: _maps(i, *grid) for name, grid in GRIDS.items()}),
            cond=_latents(i + 3),
            uncond=_latents(i + 4),
            seconds=0.25,
        )
        for i, (sigma, after) in enumerate([(2.4, 0.75), (0.75, 0.0)])
    )
    return Trace(
        "golden",
        "text to image",
        settings.checked(),
        prompts,
        made,
        expected=2,
        negative_tokens=prompts,
        factors=(np.arange(15, dtype=np.float32).reshape(5, 3) % 7 - 3) / 8,
        schedule_sigmas=(0.5, 1.0, 8.0),
    )


def _latents(shift: int) -> np.ndarray:
    """float32 [B, C, h, w] from -1.5 to 1.5."""
    values = np.arange(math.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return ((values * 7 + shift * 5) % 25 - 12) / 8


def _maps(shift: int, h: int, w: int) -> np.ndarray:
    """float16 [B, 1, T, h, w], which sum to 1 over the tokens."""
    values = np.arange(2 * TOKENS * h * w, dtype=np.float64).reshape(2, 1, TOKENS, h, w)
    weights = (values * 3 + shift * 4) % 11 + 1
    return (weights / weights.sum(2, keepdims=True)).astype(np.float16)


def _run() -> dict[str, Any]:
    run = trace()
    assert run.factors is not None
    return {
        "header": header_of(run, 1, recipe=RECIPE),
        "film": film([pack(step) for step in run.steps]),
        "steps": [_numbers(step) for step in run.steps],
        "heat": [*_heat(run)],
        "previews": [
            {
                "step": step.index,
                "of": of,
                "rgb": preview_rgb(getattr(step, of), run.factors, sigma=sigma).tobytes(),
            }
            for step in run.steps
            for of, sigma in (("x", step.sigma), ("denoised", 0.0))
        ],
    }


def _numbers(step: TraceStep) -> dict[str, Any]:
    assert step.attention is not None and step.cond is not None and step.uncond is not None
    maps = [each[:, 0] for each in step.attention.cross.values()]  # [B, T, h, w]
    return {
        "index": step.index,
        "sigma": step.sigma,
        "sigma_next": step.sigma_next,
        "seconds": step.seconds,
        "size": step.x.shape,
        "grids": [each.shape[-2:] for each in maps],
        "tokens": TOKENS,
        "x": step.x / math.sqrt(1 + step.sigma**2),
        "denoised": step.denoised,
        "uncond": step.uncond,
        "difference": step.cond - step.uncond,
        "attention": maps,
    }


def _heat(run: Trace) -> Iterator[dict[str, Any]]:
    """Return the maps of words at the images' size: for the whole run, a step, a layer."""
    yield {
        "chosen": {"word": "cat", "picture": 0},
        "values": run.heat_map("cat", recipe=RECIPE),
    }
    yield {
        "chosen": {"word": "ducks", "picture": 1, "span": "step", "step": 1},
        "values": run.heat_map("ducks", picture=1, step=1, recipe=RECIPE),
    }
    yield {
        "chosen": {"word": "swim", "picture": 1, "layer": 1},
        "values": run.heat_map("swim", picture=1, layer=1, recipe=RECIPE),
    }
    yield {
        "chosen": {"word": "<end>", "picture": 0},
        "values": run.heat_map("<end>", recipe=RECIPE),
    }


def _curve() -> dict[str, Any]:
    curve = Curve()
    for i in range(4):
        metrics = {"accuracy": i / 4} if i > 1 else {}
        step = SimpleNamespace(index=i, total=4, loss=2.0**-i, lr=1, seconds=1, metrics=metrics)
        curve.add(step)
    table = curve.table()
    values = [[None if math.isnan(each) else each for each in row] for row in table.tolist()]
    return {"names": curve.names, "data": table.tobytes(), "rows": values}


def _colormaps() -> dict[str, bytes]:
    """uint8 [256, 3] of each."""
    names = {"magma": "magma", "viridis": "viridis", "grey": "gray"}
    tables = {ours: colormaps[name](np.arange(256))[:, :3] for ours, name in names.items()}
    return {name: np.rint(255 * rgb).astype(np.uint8).tobytes() for name, rgb in tables.items()}


def _lab() -> dict[str, Any]:
    """Return the lab's traits, and the numbers in those that are bytes."""
    grid = _latents(0)[0]  # [C, h, w]
    image = Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3))
    statistics = tuple(Statistics(0.5, 1.0, -1.5, 1.5) for _ in grid)
    indices = np.array([[0, 1, 2, 300], [4, 5, 6, 7], [70, 600, 10, 511]])
    colours = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    codes = CodeMap(1024, indices, 12, math.inf, colours)
    error = np.arange(12, dtype=np.float32).reshape(3, 4) / 2
    edits = (Scale(channel=1, factor=2.0), Paint(channel=-1, value=1.0, cells=((0, 1),)))
    history = History(now=edits, past=((), edits[:1]))
    return {
        "traits": {
            "latents": lab_wire.latents(Latents("KL", grid, grid, grid, image, statistics, None)),
            "results": lab_wire.results(
                (Reconstruction("KL", image, error, 30.0, 0.9, math.inf, 8.0, 0.25),)
            ),
            "edited": lab_wire.edited(Edited("KL", image, grid, math.inf, history, None)),
            "touch": lab_wire.touch(
                ReceptiveField("cell", 1, 2, np.arange(12, dtype=np.uint8).reshape(3, 4), 0.5)
            ),
        },
        "codes": lab_wire.latents(Latents("VQ", grid, None, grid, image, statistics, codes)),
        "latents": grid,
        "indices": indices.ravel().tolist(),
        "error": error,
    }


def _asked() -> dict[str, Any]:
    """Return the messages of the lab's page: a file in a single part, and a stroke of the brush."""
    file = b"a file"
    part = {"kind": "file", "name": "a.png", "size": len(file), "part": 0, "parts": 1}
    edit = {"type": "paint", "channel": 1, "value": -2.5, "mode": "add", "cells": [[0, 1], [1, 1]]}
    return {
        "file": {"message": {**part, "second": True}, "data": file},
        "stroke": {"kind": "edit", "edit": edit},
    }


def text() -> str:
    return json.dumps(golden(), default=as_json, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8", newline="\n")
