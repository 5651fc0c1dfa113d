"""Masks, and the latent cells that a run paints over with them.

``python tests/golden_cells.py`` writes js/test/cells_of_masks.json, js/src/painter/cells.test.ts
reads it, and test_golden_cells.py checks that it is still what Python makes.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from sdwidgets import painting
from sdwidgets.settings import FITS

PATH = Path(__file__).resolve().parents[1] / "js" / "test" / "cells_of_masks.json"


def mask_of(size: tuple[int, int], boxes: list[list[int]]) -> np.ndarray:
    """The mask [H, W] with these boxes of one level each: x, y, width, height, level."""
    values = np.zeros(size[::-1], np.uint8)
    for x, y, width, height, level in boxes:
        values[y : y + height, x : x + width] = level
    return values


def golden() -> list[dict[str, Any]]:
    """Masks as boxes, runs, and the levels of their cells, 0 to 255."""
    rng = random.Random(7)
    cases = []
    for number in range(60):
        size = rng.choice([(97, 64), (64, 97), (48, 32), (33, 33), (120, 48), (7, 50)])
        boxes = [
            [rng.randrange(size[0]), rng.randrange(size[1]), rng.randint(1, 30), rng.randint(1, 9),
             rng.choice((255, 250, 128, 40, 8))]
            for _ in range(rng.randrange(4))
        ]  # fmt: skip
        pad = [rng.choice((0, 0, 8, 13)) for _ in range(4)] if number % 3 == 0 else [0, 0, 0, 0]
        run = {
            "size": rng.choice([None, (64, 64), (96, 40), (40, 96), (200, 200)]),
            "fit": rng.choice(FITS),
            "factor": rng.choice((4, 8, 8)),
            "pad": pad,
        }
        made = painting.cells(mask_of(size, boxes), size, **run)
        levels = np.rint(made * 255).astype(int)
        cases.append({"image": size, "boxes": boxes, "run": run, "cells": levels.tolist()})
    return cases


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden(), separators=(",", ":")) + "\n", encoding="utf-8")
