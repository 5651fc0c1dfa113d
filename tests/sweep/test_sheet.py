"""Tables and contact sheets: a row or a cell for each point, labels, and pages."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdwidgets.errors import InputError, OutOfMemory
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.sweep.engine import Engine
from sdwidgets.sweep.plan import Plan
from sdwidgets.sweep.results import Result
from sdwidgets.sweep.sheet import contact_sheets, pages, save_sheet
from sdwidgets.trace import Trace


def colour_of(column: int, row: int = 0, page: int = 0) -> tuple[int, int, int]:
    """No grey, as texts are."""
    return 10 + 15 * column, 100 + 20 * row, 200 + 30 * page


def colours(plan: Plan) -> dict[int, Result]:
    """A result for each point, in a colour that says where it is."""
    made = {}
    for point in plan:
        settings = point.settings.checked()
        colour = colour_of(*point.place)
        width, height = settings.width or 16, settings.height or 16
        image = Image.new("RGB", (width, height), colour)
        settings = settings.resolved(width=width, height=height)
        trace = Trace(model="m", task="text to image", settings=settings, images=(image,))
        made[point.index] = Result(point, trace, scores={"mean": point.index / 2})
    return made


def plan(**settings: object) -> Plan:
    return Plan.of(
        "m", **{"seed": [1, 2, 3], "prompt": "a {cat|dog}", "size": (16, 16), **settings}
    )


def test_a_table_has_settings_and_scores(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    scores = {"mean": lambda trace: float(np.asarray(trace.image).mean())}
    engine = Engine(
        Plan.of(tiny_model, sampler=["euler", "ddim"], eta=[0.0, 0.5], steps=2, prompt="a cat"),
        scores=scores,
    )
    results = list(engine)
    engine.close()
    path = engine.to_csv(tmp_path / "table.csv")
    with open(path, newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["index"] for row in table] == ["0", "1", "2", "3"]
    assert {each.name for each in fields(Settings)} <= set(table[0])
    for row, result in zip(table, results, strict=True):
        assert row["sampler"] == result.point.settings.sampler and row["prompt"] == "a cat"
        assert row["eta"] == str(0.5 * result.place[1])
        if result.ok:
            assert float(row["mean"]) == result.scores["mean"] and row["error"] == ""
            assert float(row["guidance_scale"]) == result.settings.guidance_scale
        else:
            assert "has no eta" in row["error"] and row["mean"] == "nan"
    assert [one.ok for one in results] == [True, True, False, True]
    parquet = pytest.importorskip("pyarrow.parquet")
    read = parquet.read_table(engine.to_parquet(tmp_path / "table.parquet")).to_pylist()
    assert [row["sampler"] for row in read] == [row["sampler"] for row in table]
    assert [row["seed"] for row in read] == [engine.plan.seed] * 4
    assert read[0]["error"] is None and read[0]["mean"] == results[0].scores["mean"]


def test_without_pyarrow_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: LatentDiffusion
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    engine = Engine(Plan.of(tiny_model, seed=[1], steps=1))
    with pytest.raises(InputError, match="no results yet"):
        engine.to_csv(tmp_path / "t.csv")
    list(engine)
    engine.close()
    with pytest.raises(InputError, match="needs pyarrow"):
        engine.to_parquet(tmp_path / "t.parquet")


def test_a_sheet_has_every_image_at_its_full_size(tmp_path: Path) -> None:
    of = plan(guidance_scale=[1, 7])
    made = colours(of)
    [one, two] = save_sheet(of, made, tmp_path / "cats.png")
    assert [one.name, two.name] == ["cats-1.png", "cats-2.png"]
    for page, path in enumerate([one, two]):
        with Image.open(path) as image:
            assert json.loads(image.info["sdwidgets sweep"]) == of.identity
            pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        seen, counts = np.unique(pixels, axis=0, return_counts=True)
        found = {tuple(map(int, c)): int(n) for c, n in zip(seen, counts, strict=True)}
        for column in range(3):
            for row in range(2):
                assert found[colour_of(column, row, page)] == 16 * 16
        assert sum(len({*colour}) > 1 for colour in found) == 6
    # its axes are in the upper left, in this order
    image = np.asarray(Image.open(one).convert("RGB"))
    first, right, below = (
        np.argwhere((image == colour_of(*place)).all(-1))[0] for place in [(0, 0), (1, 0), (0, 1)]
    )
    assert (right - first).tolist() == [0, 18] and (below - first).tolist() == [18, 0]


def test_a_sheet_that_is_too_large_is_written_in_pages(tmp_path: Path) -> None:
    of = Plan.of("m", seed=range(12), guidance_scale=range(1, 8), size=(64, 64))
    told: list[str] = []
    paths = save_sheet(of, colours(of), tmp_path / "x.png", most=200_000, tell=told.append)
    assert len(paths) > 1 and str(len(paths)) in told[0] and "megapixels" in told[0]
    cells = 0
    for path in paths:
        with Image.open(path) as image:
            assert image.width * image.height <= 200_000
        cells += path.stat().st_size > 0
    assert cells == len(paths)
    places = [place for page in pages(of, (64, 64), 200_000, 100) for place in page.places]
    assert sorted(places) == sorted(point.place for point in of)
    # no more pages than there must be, where all fits
    assert len(pages(of, (512, 512))) == 1
    assert len(pages(of, (4096, 4096))) > 7


def test_a_figure_has_the_labels_as_text(tmp_path: Path) -> None:
    of = plan(guidance_scale=[1, 7])
    made = colours(of)
    made[1] = Result(of.point(1), error=OutOfMemory("no room"))
    del made[2]
    first, second = contact_sheets(of, made)
    texts = [text.get_text() for text in first.axes[0].texts]
    for said in ("seed 1", "seed 3", "cat", "dog", "guidance scale 1", "OutOfMemory"):
        assert said in texts
    assert "guidance scale 7" in [text.get_text() for text in second.axes[0].texts]
    assert len(first.axes[0].images) == 4 and len(second.axes[0].images) == 6
    [pdf] = save_sheet(of, made, tmp_path / "x.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("name", "why"), [("x.gif", "png, .jpg, .webp or .pdf"), ("x", "a sheet is a"), (5, "path")]
)
def test_other_files_are_refused(tmp_path: Path, name: object, why: str) -> None:
    of = plan()
    path = tmp_path / name if isinstance(name, str) else name
    with pytest.raises(InputError, match=f"(?i){why}"):
        save_sheet(of, colours(of), path)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no image yet"):
        save_sheet(of, {}, tmp_path / "x.png")
    assert not any(tmp_path.iterdir())


def test_a_file_with_too_long_sides_is_refused(tmp_path: Path) -> None:
    of = Plan.of("m", seed=range(300), size=(64, 16))
    with pytest.raises(InputError, match="at most 16,383 pixels a side"):
        save_sheet(of, colours(of), tmp_path / "x.webp")


def test_an_axis_of_sizes_keeps_them(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    sizes = [(16, 16), (32, 16), (16, 24)]
    engine = Engine(Plan.of(tiny_model, size=sizes, steps=1, seed=1))
    assert [one.image.size for one in engine] == sizes
    engine.close()
    [path] = engine.save_sheet(tmp_path / "sizes.png")
    with Image.open(path) as image:
        assert image.width >= 3 * 32 and image.height >= 24
    assert [row["size"] for row in engine.rows()] == [json.dumps(size) for size in sizes]
    texts = [text.get_text() for text in engine.contact_sheets()[0].axes[0].texts]
    assert {"size 16 x 16", "size 32 x 16", "size 16 x 24"} <= set(texts)
