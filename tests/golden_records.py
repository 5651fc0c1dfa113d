"""Recorded runs for the reader in TypeScript, with what Python makes of them.

``python tests/golden_records.py`` writes js/test/records.json and js/test/refused.json, which
js/src/record/*.test.ts read; test_golden_records.py checks that Python still reads them so. The
first has whole files with the traits of a `Viewer` that shows them. The second has files that are
wrong, and the sentences that refuse them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from golden import as_json
from PIL import Image

from sdwidgets.contract import numbered
from sdwidgets.settings import Settings
from sdwidgets.sources import Source
from sdwidgets.trace import PromptTokens, StepAttention, Trace, TraceStep
from sdwidgets.trace import page as exported
from sdwidgets.trace.parent import Parent
from sdwidgets.trace.png import settings_record
from sdwidgets.trace.record import GivenControl
from sdwidgets.trace.step import Queries
from sdwidgets.widgets import Compare, Viewer

PATH = Path(__file__).resolve().parents[1] / "js" / "test" / "records.json"
NAME = "run.sdtrace"
OLD = Path(__file__).parent / "trace" / "written_before" / "format_1.sdtrace"

HINDI = "नमस्ते दुनिया, l’été 👨\u200d👩\u200d👧 don't"
COLUMNS = 8


def latents(shift: int, shape: tuple[int, ...]) -> np.ndarray:
    """float32 from -1.5 to 1.5, made of fractions of two."""
    values = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    return ((values * 7 + shift * 5) % 25 - 12) / 8


def maps(shift: int, batch: int, heads: int, h: int, w: int, columns: int = COLUMNS) -> np.ndarray:
    """float16 [B, K, T, h, w], which sum to about 1 over the tokens."""
    values = np.arange(batch * heads * columns * h * w, dtype=np.float64)
    weights = ((values * 3 + shift * 4) % 11 + 1).reshape(batch, heads, columns, h, w)
    return (weights / weights.sum(2, keepdims=True)).astype(np.float16)


def added(shift: int, h: int, w: int) -> np.ndarray:
    """float16 [2, 2, 1, h, w]: what two controls add to two images; the first stops early."""
    values = (np.arange(2 * 2 * h * w).reshape(2, 2, 1, h, w) * 3 + shift * 5) % 13 / 8
    values[:, 0] *= shift < 2
    return values.astype(np.float16)


def prompt(text: str, pieces: tuple[str, ...]) -> PromptTokens:
    """The tokens of a prompt whose pieces are parts of it, in order."""
    spans, start = [], 0
    for piece in pieces:
        start = text.index(piece, start)
        spans.append((start, start + len(piece)))
        start += len(piece)
    return PromptTokens(text, pieces, tuple(spans), " und mehr", 77)


def steps(
    count: int,
    shape: tuple[int, ...],
    grids: dict[str, tuple[int, int]],
    *,
    guided: bool = True,
    heads: int = 1,
    rich: bool = False,
    columns: int = COLUMNS,
) -> Iterator[TraceStep]:
    """Yield steps of a made-up run; ``rich``: with all kinds of attention."""
    batch = shape[0]
    for i in range(count):
        attention = StepAttention(
            {name: maps(i, batch, heads, *grid, columns) for name, grid in grids.items()},
            {name: maps(i + 1, batch, heads, *grid) for name, grid in grids.items() if rich},
            {"mid_block": maps(i, batch, 1, 1, 4, 4).reshape(batch, 4, 4)} if rich else {},
            {"mid_block": _queries(i, batch)} if rich else {},
        )
        yield TraceStep(
            index=i,
            sigma=float(count - i) + 0.25,
            x=latents(i, shape),
            denoised=latents(i + 2, shape),
            sigma_next=float(count - i - 1) + (0.25 if i < count - 1 else 0),
            x_next=latents(i + 1, shape),
            attention=attention if grids else None,
            cond=latents(i + 3, shape) if guided else None,
            uncond=latents(i + 4, shape) / 3 if guided else None,
            seconds=0.125,
        )


def _queries(shift: int, batch: int) -> Queries:
    values = (np.arange(batch * 4 * 3) * 5 + shift) % 255 - 127
    scale = np.full((batch, 4, 1), 0.5, np.float32)
    return Queries(values.reshape(batch, 4, 3).astype(np.int8), scale)


def image(width: int, height: int, mode: str = "RGB", shift: int = 0) -> Image.Image:
    channels = len(mode)
    values = (np.arange(width * height * channels) * 3 + shift) % 256
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(values.astype(np.uint8).reshape(shape))


GRIDS = {
    "down_blocks.0": (3, 4),
    "down_blocks.1": (2, 2),
    "mid_block": (2, 2),
    "up_blocks.0": (3, 4),
}


def traces() -> dict[str, tuple[Trace, str]]:
    """Return a record and its precision by name."""
    both = (
        prompt(HINDI, ("नम", "स्ते", "दुनिया", ",", "l’été", "👨\u200d👩\u200d👧", "don")[:5]),
        prompt("ducks swim", ("du", "cks", "swim")),
    )
    asked = Settings(
        prompt=tuple(one.prompt for one in both),
        negative_prompt=("", "</script><b>rain"),
        sigmas=(14.5, 2.0, 1e-5, 0.0),
        sampler="euler",
        guidance_scale=3.0,
        seed=(7, 11),
        width=16,
        height=12,
        strength=0.75,
        pad=(2, 0, 0, 4),
        variation=(9, 0.25),
        image_guidance_scale=1.5,
        noise_level=20,
        aesthetic_score=6.5,
        negative_aesthetic_score=2,
    ).checked()
    rich = Trace(
        "golden",
        "inpainting",
        asked,
        both,
        tuple(steps(3, (2, 4, 3, 4), GRIDS, rich=True)),
        (image(16, 12), image(16, 12, shift=5)),
        expected=3,
        notices=("The image was cropped.", "<script>alert(1)</script> 👋 \udcff"),
        versions={"sdwidgets": "0.1", "torch": "2.4"},
        fingerprint="abc123",
        prediction="v",
        prediction_source="config",
        negative_tokens=both,
        given_image=image(16, 12, shift=9),
        given_mask=image(16, 12, "L"),
        given_depth=latents(1, (1, 1, 5, 7))[0, 0],
        given_latents=latents(1, (2, 4, 3, 4)),
        factors=(np.arange(15, dtype=np.float32).reshape(5, 3) % 7 - 3) / 8,
        schedule_sigmas=(0.5, 1.0, 8.0),
        sources=(Source("a/b", commit="c" * 40), Source("style", "d" * 64, "lora", -0.5)),
    )
    single = Settings(
        prompt="ducks swim", steps=150, sampler="ddim", eta=0.5, seed=3, width=16, height=8
    ).checked()
    plain = Trace(
        "plain",
        "text to image",
        single,
        (both[1],),
        tuple(steps(150, (1, 2, 1, 2), {}, guided=False)),
        (image(16, 8, "L"),),
        expected=150,
        run_seconds=60.25,
    )
    heads = replace(
        plain,
        model="heads",
        settings=replace(single, steps=2, guidance_scale=7.5, prompt="ducks  swim"),
        steps=tuple(steps(2, (1, 4, 3, 4), {**GRIDS, "odd": (5, 3)}, heads=3)),
        images=(image(16, 12, "RGBA"),),
        expected=2,
        run_seconds=None,
    )
    wide = {"down_blocks.0": (70, 5), "up_blocks.0": (35, 3), "up_blocks.1": (4, 130)}
    large = replace(heads, model="large", steps=tuple(steps(1, (1, 1, 70, 5), wide)), expected=1)
    stopped = replace(heads, steps=heads.steps[:1], images=(), complete=False, settings=single)
    shape = (2, 3, 5, 7)
    loop = Trace(
        "mine",
        "",
        Settings(),
        steps=(
            TraceStep(0, 2.0, latents(1, shape), latents(2, shape), 1.0, latents(3, shape)),
            TraceStep(4, 1e-5, latents(4, shape), latents(5, shape), 0.0, latents(6, shape),
                      cond=latents(7, shape)),
            TraceStep(5, 0.5, latents(8, shape), latents(9, shape), 0.0, latents(10, shape),
                      uncond=latents(11, shape)),
        ),
    )  # fmt: skip
    empty = replace(stopped, steps=(), tokens=())
    levels = {"down_blocks.0": (40, 3), "down_blocks.1": (3, 4), "mid_block": (2, 2)}
    controlled = replace(
        rich,
        model="controlled",
        steps=tuple(
            replace(step, control={name: added(step.index, *grid) for name, grid in levels.items()})
            for step in steps(3, (2, 4, 3, 4), {"down_blocks.0": (3, 4)})
        ),
        sources=(Source("canny.safetensors", "e" * 64, "controlnet", 0.5),),
        given_controls=(
            GivenControl("canny.safetensors", image(16, 12, shift=3), 0.5, 0.0, 0.625),
            GivenControl("a <b>depth</b>", image(16, 12, shift=4), 1.0, 0.125, 1.0),
        ),
        given_latents=None,
    )
    branch = replace(
        heads,
        model="branch",
        parent=Parent.of("branch", replace(heads, settings=asked), step=1, seed=(4, 9)),
        steps=tuple(replace(step, draws=2 * step.index) for step in heads.steps),
    )
    edits = {"word": "ducks", "replacement": "", "weights": {"swim": 2.5}, "blend": ["a"]}
    edited = replace(
        rich,
        model="edited",
        parent=Parent.of("edit", replace(rich, parent=branch.parent), edit=edits | {"picture": 1}),
        settings=replace(
            asked, start_step=1, end_step=3, variation=(8, 0.25), pad=(0, 8, 4, 0), window=8,
            refiner_start=0.125, toward=(" two <b>geese</b>\n", 1 / 3), guide_scale=2.5,
            label=("</b> cat", None), boxes=((("a \"b\"", (0.0, 1 / 3, 0.5, 1.0)),), ()),
        ),
    )  # fmt: skip
    passes = replace(
        edited,
        given_guide={"name": "colour <b>", "rgb": [255, 0.5], "of": {"a": None}},
        given_label_map=(np.arange(48, dtype=np.uint16) * 1000).reshape(6, 8),
        given_neighbours=(image(7, 5, shift=2), image(16, 12, shift=3)),
        model="passes",
        parent=Parent.of("hires", replace(rich, parent=Parent.of("merge", edited))),
        settings=replace(asked, hires=1.5, label=7, boxes=(("dog", (0.25, 0.125, 1.0, 0.75)),)),
    )
    return {
        "rich": (rich, "8-bit"),
        "rich float16": (rich, "float16"),
        "thinned": (plain, "8-bit"),
        "heads": (heads, "8-bit"),
        "heads float16": (heads, "float16"),
        "large": (large, "8-bit"),
        "large float16": (large, "float16"),
        "stopped": (stopped, "8-bit"),
        "loop": (loop, "8-bit"),
        "empty": (empty, "8-bit"),
        "controlled": (controlled, "8-bit"),
        "controlled float16": (controlled, "float16"),
        "branch": (branch, "8-bit"),
        "edited": (edited, "8-bit"),
        "passes": (passes, "float16"),
    }


def expected(trace: Trace) -> dict[str, Any]:
    """Return what the page gets of a loaded record."""
    viewer = Viewer(trace)
    try:
        return {
            "page": page(trace) if trace.steps else None,
            "header": viewer.header,
            "state": viewer.state,
            "message": viewer.message,
            "frames": [frame for name in numbered("frame") if (frame := getattr(viewer, name))],
            "pictures": [
                {name: value for name, value in one.items() if name != "data"}
                for one in viewer.pictures
            ],
            "records": [
                json.dumps(settings_record(trace, i), ensure_ascii=False)
                for i in range(len(trace.images))
            ],
            "settings": trace.settings.as_dict(),
            "notices": list(trace.notices),
        }
    finally:
        viewer.close()


DATA = re.compile(r'(<script type="application/json" id="sdw-data">)(.*)(</script>)')


def page(trace: Trace) -> dict[str, Any]:
    """Return the exported page of a made-up script: its HTML, and its data with digests of bytes.

    Without what stands in it where scripts are off, which another program draws.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        built = Path(folder) / "built"
        built.write_text("/* {built} */", "utf-8")
        made = {"bundle": lambda _: built, "sheet_png": lambda _: b""}
        with mock.patch.multiple(exported, **made):
            html = exported.export_html(trace, path).read_text("utf-8")
    data = json.loads(DATA.search(html)[2], object_hook=_digested)  # type: ignore[index]
    bare = re.sub(r"<noscript>.*</noscript>", "", DATA.sub(r"\1\3", html), flags=re.DOTALL)
    return {"html": bare, "data": data}


def _digested(value: dict[str, Any]) -> Any:
    if "$bytes" not in value:
        return value
    return hashlib.sha256(base64.b64decode(value["$bytes"])).hexdigest()


def golden() -> dict[str, Any]:
    """Return every file, and what Python makes of it."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        loaded = {}
        for name, (trace, precision) in traces().items():
            trace.save(path, precision=precision)
            loaded[name] = Trace.load(path)
            found[name] = {"file": path.read_bytes(), **expected(loaded[name])}
        found["format 1"] = {"file": OLD.read_bytes(), **expected(Trace.load(OLD))}
    compare = Compare(loaded["rich"], loaded["heads"], loaded["loop"], loaded["edited"])
    labels = compare.labels
    compare.close()
    return {"files": found, "labels": {"of": ["rich", "heads", "loop", "edited"], "are": labels}}


def text() -> str:
    made = json.dumps(golden(), default=as_json, separators=(",", ":")).encode()
    return json.dumps({"gzip": base64.b64encode(gzip.compress(made, mtime=0)).decode()}) + "\n"


def committed() -> dict[str, Any]:
    """Return what `golden` returned when the file was written, bytes as in exported pages."""
    packed = json.loads(PATH.read_text("utf-8"))["gzip"]
    return json.loads(gzip.decompress(base64.b64decode(packed)))  # type: ignore[no-any-return]


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8", newline="\n")
