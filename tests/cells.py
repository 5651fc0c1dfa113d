"""Runs of the bundled models with the notebook cells that make them again, and texts as literals.

``python tests/cells.py`` writes js/test/cells.json: what records say comes from Python, and the
cells and literals from js/src/lib/cell.ts (with Node). js/test/cells.test.ts checks that the page
still writes them, and test_cells.py that Python reads them as it should.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import sdwidgets as sdw
from sdwidgets.trace import Trace
from sdwidgets.trace.png import settings_record

JS = Path(__file__).resolve().parents[1] / "js"
PATH = JS / "test" / "cells.json"
RECORD = 'a run\'s "records"/cat.sdtrace'

KEYS = (
    "model", "task", "settings", "settings_format", "fingerprint", "given", "complete", "parent",
)  # fmt: skip
"""What a cell depends on; versions and times differ between machines."""


def picture(width: int = 40, height: int = 30) -> Image.Image:
    """Return an image with a gradient."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([5 * x, 8 * y, 3 * (x + y)], -1).astype(np.uint8))


def runs() -> Iterator[tuple[str, Trace, dict[str, Any]]]:
    """Yield (name, run, what the page knows of its file) of every kind of run."""
    model = sdw.load()
    small = {"width": 64, "height": 64, "steps": 3}
    mask = Image.new("L", (40, 30))
    mask.paste(255, (0, 0, 20, 30))
    hostile = "a \"cat\"\\\n'''); import os #\u2028{prompt!r} %s \U0001f408 \u202e?"
    yield "plain", model.generate("a cat", steps=3, seed=2**32 - 1), {"name": "cat.png"}
    yield "stranger's", model.generate(hostile, seed=1, **small), {"name": "a\nb?"}
    several = model.generate(
        ["a cat", "a dog"], negative_prompt=["", "blue"], seed=[5, 3], guidance_scale=2.7, **small
    )
    yield "batch of two", several, {"record": RECORD}
    count = model.generate("a red car", batch_size=3, seed=8, sampler="euler_ancestral", **small)
    yield "batch from a seed", count, {"record": RECORD}
    options = {"sampler": "ddim", "eta": 0.1 + 0.2, "guidance_rescale": 1 / 3, "seed": 0}
    yield "floats", model.generate("a cat", schedule="karras", **options, **small), {}
    from_image = {"image": picture(), "strength": 0.7, "fit": "pad", "seed": 4, **small}
    yield "image to image", model.generate("a cat", **from_image), {"record": RECORD}
    yield "image to image, alone", model.generate("a cat", **from_image), {"name": "cat.png"}
    yield "inpainting", model.generate("a dog", mask=mask, **from_image), {"record": RECORD}
    padded = {"pad": (16, 0, 0, 8), "variation": (7, 0.25), "strength": 1.0, "seed": 4, "steps": 3}
    outpainting = model.generate("a dog", image=picture(), **padded)
    yield "outpainting", outpainting, {"record": RECORD}
    yield "outpainting, alone", outpainting, {"name": "cat.png"}
    noise = np.sin(np.arange(4 * 8 * 8, dtype=np.float32).reshape(1, 4, 8, 8))
    given = model.generate("a dog", latents=noise, seed=1, **small)
    yield "latents", given, {"record": RECORD, "name": "dog.sdtrace"}
    noisy = {"sampler": "euler_ancestral", "eta": 0.5, "s_noise": 1.02}
    part = {"start_step": 1, "end_step": 3, "variation": (9, 0.25), "pad": (8, 0, 16, 24)}
    out = {"image": picture(), "seed": 4, **small, **noisy, "steps": 4}
    yield "a part, outpainted", model.generate("a cat", **out, **part), {"record": RECORD}
    blended = {"toward": ("a 'dog'\n", 1 / 3), **small}
    yield "between two prompts", model.generate("a cat", seed=5, **blended), {"name": "cat.png"}
    by_hand = {"sigmas": [20.0, 3.0, 1 / 3, 0.0], "window": 64, "seed": 6, "width": 96}
    yield "levels by hand", model.generate("a red car", **by_hand, height=64), {}
    larger = {"hires": 1.5, "hires_steps": 4, "hires_method": "pixels", "hires_strength": 0.5}
    enlarged = model.generate("a red car", seed=3, **larger, **small)
    yield "two passes", enlarged, {"record": RECORD}
    edited = several.edit("dog", "cow", weights={"cow": 1.5}, blend=["cow"], picture=1)
    yield "an edit", edited, {"record": RECORD}
    yield "an edit, alone", several.edit(prompt="a red cat", picture=0), {"name": "cat.png"}
    other = {"prompt": "a red car", "guidance_scale": 5, "sampler": "euler_ancestral"}
    branch = count.branch(step=1, seed=[7, 5, 2], **other)
    yield "a branch", branch, {"record": RECORD}
    yield (
        "a branch of a branch, alone",
        branch.branch(step=2, steps=4, picture=1),
        {"name": "car.png"},
    )
    seen = model.generate("a dog", attention=True, seed=1, **small)
    yield "attention", seen, {"record": RECORD, "attention": True}
    by_class = sdw.load("emoji-class").generate(label=["cat", None], seed=2, **small)
    yield "by class", by_class, {"record": RECORD}
    boxes = [("blue", (0, 0, 1, 1)), ("cat", (0.1, 0.25, 0.6, 0.9))]
    layout = sdw.load("emoji-layout").generate(boxes=boxes, guidance_scale=1.5, seed=3, **small)
    yield "by boxes", layout, {"name": "cat.png"}
    areas = np.repeat([[0, 4, 11]], 3, axis=0)
    yield (
        "by label map",
        sdw.load("emoji-map").generate(label_map=areas, **small, seed=1),
        {"record": RECORD},
    )


def made(run: Trace, found: dict[str, Any]) -> dict[str, Any]:
    """Return what the file says of a run: that of a PNG, or of an .sdtrace."""
    said = run.record()
    if "record" in found:  # the whole run, not an image of it
        said = settings_record(run, None)
    return json.loads(json.dumps(_known(said)))


def _known(said: dict[str, Any]) -> dict[str, Any]:
    """Return what cells depend on in a record and in those of its parents."""
    known = {name: said[name] for name in KEYS if name in said}
    if "parent" in known:
        known["parent"] = {**said["parent"], "record": _known(said["parent"]["record"])}
    return known


def texts() -> Iterator[str]:
    """Yield texts that are hard to quote, the same ones every time."""
    yield from ("", "a cat", "it's", 'a "b"', "'\"", "\\", "\\'", '\\"', '"""', "'''", "{x}", "%s")
    yield from ("a\nb", "a\r\nb", "\x00", "\x1b[0m", "\x7f\x85\xa0\xad", "\u2028\u2029", "\ufeff")
    yield from ("\ud800", "\udfff\ud800", "a\udc00b", "\U0001f408\u200d\u2b1b", "\u202eabc\u202c")
    yield from (
        "\\u0041",
        "\\N{DASH}",
        "?",
        "!ls",
        "%%bash",
        "#",
        "a\\",
        "\u3000",
        "\U0010ffff",
        "\xe9",
    )
    rng = random.Random(0)
    special = "\\'\"\n\r\t {}%?#u0x\u2028\u200b\ud83d\udc08\x00"
    for _ in range(150):
        letters = (
            rng.choice(special) if rng.random() < 0.7 else chr(rng.randrange(0x250))
            for _ in range(rng.randrange(1, 24))
        )
        yield json.loads(json.dumps("".join(letters)))  # two halves are a whole, as in a file


def golden() -> dict[str, Any]:
    """Return what Python says; `PATH` also has the page's answers."""
    return {
        "runs": [
            {"name": name, "made": made(run, found), "found": found} for name, run, found in runs()
        ],
        "texts": [[ord(each) for each in text] for text in texts()],
    }


_ANSWERS = """
import { literal, making } from "./src/lib/cell";
const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
for (const run of asked.runs) run.cell = making(run.made, run.found);
asked.texts = asked.texts.map((codes) => {
  const text = String.fromCodePoint(...codes);
  return { codes, literal: literal(text) };
});
process.stdout.write(JSON.stringify(asked));
"""


def answered(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the same with the page's answers. Needs Node and the packages of js/."""
    build = [str(JS / "node_modules" / ".bin" / "esbuild"), "--bundle", "--platform=node"]
    code = subprocess.run(build, cwd=JS, input=_ANSWERS, capture_output=True, text=True, check=True)
    script = ["node", "-e", code.stdout]
    said = subprocess.run(
        script, input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    answers: dict[str, Any] = json.loads(said.stdout)
    return answers


if __name__ == "__main__":
    PATH.write_text(json.dumps(answered(golden()), indent=1) + "\n", "utf-8", newline="\n")
