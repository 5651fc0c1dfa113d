"""Exported pages as files: their content, and texts that never become markup.

tests/browser/test_page.py tests that they play.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sdwidgets import frontend
from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import InputError, SDWidgetsError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.sources import Source
from sdwidgets.trace import Trace
from sdwidgets.trace.about import about
from sdwidgets.trace.page import export_html
from sdwidgets.trace.reel import header_of, pack

ATTACK = '</script></title><img src=x onerror="alert(1)"><!-- <script>alert(2)</script> & \u2028'


class Elements(HTMLParser):
    """The elements of a page, in order: their names, attributes and texts."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.comments: list[str] = []
        self._inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))
        self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def one(self, tag: str, **wanted: str) -> tuple[dict[str, str | None], str]:
        """Return attributes and text of the only element of that name with these attributes."""
        (result,) = [
            (attributes, text)
            for name, attributes, text in self.found
            if name == tag and wanted.items() <= attributes.items()
        ]
        return result


@pytest.fixture(scope="module")
def trace(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Trace:
    return make_model(TINY).generate("a cat", steps=4, seed=1, attention=True, batch_size=2)


def exported(trace: Trace, folder: Path) -> Elements:
    return Elements(export_html(trace, folder / "run.html").read_text("utf-8"))


def state_of(page: Elements) -> dict[str, Any]:
    _, text = page.one("script", id="sdw-data")
    data = json.loads(text)
    assert data["widget"] == "viewer"
    return data["state"]


def bytes_of(value: dict[str, str]) -> bytes:
    return base64.b64decode(value["$bytes"], validate=True)


def attacked(trace: Trace) -> Trace:
    """Return the same run with markup in every text."""
    tokens = tuple(
        replace(one, prompt=ATTACK, pieces=(ATTACK,), spans=((0, len(ATTACK)),), cut=ATTACK)
        for one in trace.tokens
    )
    return replace(
        trace,
        model=ATTACK,
        task=ATTACK,
        settings=replace(
            trace.settings, prompt=ATTACK, negative_prompt=ATTACK, sampler=ATTACK, schedule=ATTACK
        ),
        tokens=tokens,
        notices=(ATTACK, ATTACK),
        versions={ATTACK: ATTACK},
        fingerprint=ATTACK,
    )


def test_the_page_holds_the_whole_run(trace: Trace, tmp_path: Path) -> None:
    state = state_of(exported(trace, tmp_path))
    assert state["header"] == json.loads(json.dumps(header_of(trace, 1)))
    assert [bytes_of(state[f"frame{i}"]) for i in range(4)] == [pack(s) for s in trace.steps]
    assert "frame4" not in state
    assert [bytes_of(one["data"]) for one in state["pictures"]] == [trace.png(0), trace.png(1)]
    assert state["state"] == "done"


def rows_of(page: Elements) -> dict[str, str]:
    names = [text for tag, _, text in page.found if tag == "dt"]
    return dict(zip(names, [text for tag, _, text in page.found if tag == "dd"], strict=True))


def test_above_the_run_is_its_prompt_and_below_all_settings(trace: Trace, tmp_path: Path) -> None:
    source = Source("cat.safetensors", sha256="ab" * 32)
    page = exported(replace(trace, fingerprint="f" * 8, sources=(source,)), tmp_path)
    assert page.one("h1") == ({"dir": "auto"}, "a cat")
    (summary,) = [text for tag, _, text in page.found if tag == "p" and " · " in text]
    assert summary == "2 images · seed 1, 2 · 4 steps · dpmpp_2m · guidance 3 · 16 × 16 · tiny"
    rows = rows_of(page)
    assert rows["prompt"] == "a cat" and rows["negative prompt"] == "none"
    assert rows["seed"] == "1, 2" and rows["sampler"] == "dpmpp_2m" and rows["guidance"] == "3"
    assert rows["fingerprint"] == "f" * 8
    assert rows["sources"] == f"cat.safetensors, SHA-256 {'ab' * 32}"
    assert f"torch {trace.versions['torch']}" in rows["made with"]


def test_a_batch_has_each_prompt_on_a_line_and_its_seeds_as_a_range(trace: Trace) -> None:
    settings = replace(
        trace.settings, prompt=("a cat", "a dog", "a cat"), seed=7, batch_size=3, eta=0.5
    )
    rows = dict(about(replace(trace, settings=settings, complete=False)))
    assert rows["prompt"] == "a cat\na dog\na cat"
    assert rows["seed"] == "7 to 9"
    assert rows["task"] == "text to image, eta 0.5"
    assert rows["steps"].endswith(", stopped before its end")


def test_a_long_prompt_is_cut_in_the_heading_alone(trace: Trace, tmp_path: Path) -> None:
    settings = replace(trace.settings, prompt="a cat " * 100)
    page = exported(replace(trace, settings=settings), tmp_path)
    assert len(page.one("h1")[1]) == 200
    assert rows_of(page)["prompt"] == ("a cat " * 100).strip()


def test_panels_without_data_are_left_out_and_it_is_said(trace: Trace, tmp_path: Path) -> None:
    absent = "was not recorded"
    page = exported(trace, tmp_path)
    assert state_of(page)["panels"] == ["denoising", "attention", "tokens"]
    assert not any(absent in text for tag, _, text in page.found if tag == "p")
    steps = tuple(replace(step, attention=None) for step in trace.steps)
    page = exported(replace(trace, steps=steps), tmp_path)
    assert state_of(page)["panels"] == ["denoising", "tokens"]
    assert sum(absent in text for tag, _, text in page.found if tag == "p") == 1
    page = exported(Trace("", "", Settings(), steps=steps, expected=4), tmp_path)
    assert state_of(page)["panels"] == ["denoising"]
    assert page.one("h1")[1] == "A run of a diffusion model"
    assert list(rows_of(page)) == ["prompt", "negative prompt", "steps", "size"]


def test_a_long_run_is_thinned_evenly(trace: Trace, tmp_path: Path) -> None:
    steps = [replace(trace.steps[i % 4], index=i) for i in range(130)]
    state = state_of(exported(replace(trace, steps=tuple(steps)), tmp_path))
    frames = [bytes_of(state[f"frame{i}"]) for i in range(64)]
    assert "frame64" not in state
    assert frames[0] == pack(steps[0]) and frames[-1] == pack(steps[-1])


def test_a_large_run_is_averaged_down(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sum(len(pack(step)) for step in trace.steps)
    monkeypatch.setattr("sdwidgets.trace.page.LARGEST_RUN", whole // 2)
    state = state_of(exported(trace, tmp_path))
    frames = [bytes_of(state[f"frame{i}"]) for i in range(4)]
    assert sum(map(len, frames)) <= whole // 2 or frames[0] == pack(trace.steps[0], longest=8)


def test_a_large_image_is_a_jpeg(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdwidgets.trace.page.LARGEST_PICTURE", 100)
    picture = state_of(exported(trace, tmp_path))["pictures"][0]
    assert picture["type"] == "image/jpeg"
    assert bytes_of(picture["data"])[:2] == b"\xff\xd8"


def test_a_stopped_run_says_so(trace: Trace, tmp_path: Path) -> None:
    state = state_of(exported(replace(trace, complete=False, images=()), tmp_path))
    assert state["state"] == "stopped" and state["pictures"] == []


def test_a_image_that_was_lost_leaves_the_others(trace: Trace, tmp_path: Path) -> None:
    state = state_of(exported(replace(trace, images=trace.images[:1]), tmp_path))
    assert [bytes_of(one["data"]) for one in state["pictures"]] == [trace.png(0)]


def test_steps_of_someones_own_loop_have_a_page(trace: Trace, tmp_path: Path) -> None:
    own = Trace("", "", Settings(), steps=trace.steps, expected=4)
    state = state_of(exported(own, tmp_path))
    assert bytes_of(state["frame3"]) == pack(trace.steps[3])
    assert state["pictures"] == []


def test_only_its_own_script_may_run_and_nothing_be_fetched(trace: Trace, tmp_path: Path) -> None:
    page = exported(trace, tmp_path)
    policy, _ = page.one("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.strip().split(" ", 1) for rule in (policy["content"] or "").split(";"))
    _, script = page.one("script", type="module")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}'",
        "style-src": "'unsafe-inline'",
        "img-src": "blob: data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert script == frontend.bundle("standalone.js").read_text("utf-8")


def test_the_page_asks_for_nothing_outside(trace: Trace, tmp_path: Path) -> None:
    for _, attributes, _ in exported(attacked(trace), tmp_path).found:
        assert not {"href", "srcset", "action", "data"} & set(attributes)
        assert (attributes.get("src") or "data:").startswith("data:")


def test_text_stays_text(trace: Trace, tmp_path: Path) -> None:
    page = exported(attacked(trace), tmp_path)
    plain = exported(trace, tmp_path)
    assert [tag for tag, _, _ in page.found] == [tag for tag, _, _ in plain.found]
    assert page.comments == []
    assert page.one("title")[1] == " ".join(ATTACK.split()) + " – sdwidgets"
    header = state_of(page)["header"]
    assert (
        header["model"] == header["pictures"][0]["prompt"] == header["pictures"][0]["cut"] == ATTACK
    )


def test_the_data_have_no_character_that_html_knows(trace: Trace, tmp_path: Path) -> None:
    _, text = exported(attacked(trace), tmp_path).one("script", id="sdw-data")
    assert text.isascii()
    assert not set("<>&") & set(text)


def test_half_a_character_is_written_all_the_same(trace: Trace, tmp_path: Path) -> None:
    state = state_of(exported(replace(trace, model="\udcff"), tmp_path))
    assert state["header"]["model"] == "\udcff"


def test_without_scripts_there_is_the_sheet(trace: Trace, tmp_path: Path) -> None:
    page = exported(trace, tmp_path)
    tags = [tag for tag, _, _ in page.found]
    assert tags.index("noscript") < tags.index("img")
    image, _ = page.one("img")
    assert (image["src"] or "").startswith("data:image/png;base64,")
    assert image["alt"] == "Steps and image for: a cat"


def test_the_page_says_what_language_it_is_in_and_fits_a_phone(
    trace: Trace, tmp_path: Path
) -> None:
    page = exported(trace, tmp_path)
    assert page.one("html")[0]["lang"] == "en"
    assert page.one("meta", name="viewport")[0]["content"] == "width=device-width, initial-scale=1"
    assert page.one("meta", charset="utf-8")


def test_the_page_says_nothing_of_the_machine(trace: Trace, tmp_path: Path) -> None:
    text = export_html(trace, tmp_path / "run.html").read_text("utf-8")
    assert str(tmp_path) not in text and str(Path.home()) not in text


def test_a_run_without_steps_has_no_page(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no steps"):
        export_html(replace(trace, steps=()), tmp_path / "run.html")
    assert list(tmp_path.iterdir()) == []


def test_a_front_end_that_was_never_built_leaves_no_page(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontend, "STATIC", tmp_path / "static")
    with pytest.raises(SDWidgetsError, match="not built"):
        export_html(trace, tmp_path / "run.html")
    assert list(tmp_path.iterdir()) == []


def test_neither_torch_nor_jupyter_is_needed(tmp_path: Path) -> None:
    code = f"""
import sys
for name in ("torch", "transformers", "diffusers", "ipywidgets", "anywidget", "IPython"):
    sys.modules[name] = None
import numpy as np
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace, TraceStep
z = np.zeros((1, 4, 8, 8), np.float32)
steps = tuple(TraceStep(i, 2.0 - i, z, z, 1.0 - i, z) for i in range(2))
trace = Trace("", "", Settings(seed=1, width=64, height=64), steps=steps, expected=2)
trace.export_html({str(tmp_path / "run.html")!r})
trace.animation({str(tmp_path / "run.gif")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=frontend.STATIC.parents[2])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run.gif", "run.html"]
