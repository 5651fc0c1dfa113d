"""Every text of JupyterLab's extension can be translated, and its lessons are the notebooks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / "js" / "lab"
SOURCES = sorted(path for path in (LAB / "src").glob("*.ts") if ".test." not in path.name)
SCHEMAS = sorted((LAB / "schema").glob("*.json"))

# Where texts for people are.
SHOWN = (
    "label|caption|title|body|message|usage|summary|tooltip|ariaLabel|placeholder|textContent"
    "|displayName"
)
LITERAL = re.compile(rf"\b(?:{SHOWN})\s*(?:[:=]|\?\?)\s*(?:\(.*?\)\s*=>\s*)?(?:\"[^\"]+\"|`[^`]+`)")
CALLED = re.compile(
    r"\b(?:showErrorMessage|Notification\.\w+|setAttribute\(\s*\"(?:aria-label|title)\",)"
    r"\(?\s*(?:\"[^\"]+\"|`[^`]*`)"
)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_text_bypasses_the_translator(source: Path) -> None:
    text = re.sub(r"^\s*(//|\*|/\*).*$", "", source.read_text("utf-8"), flags=re.MULTILINE)
    assert LITERAL.findall(text) == []
    assert CALLED.findall(text) == []


def test_a_text_that_bypasses_the_translator_is_found() -> None:
    for text in ('label: "Stop"', "label: (args) => `Stop ${args.name}`", 'b.title = "Stop"'):
        assert LITERAL.search(text), text
    for text in ('showErrorMessage("No", why)', 'Notification.error(\n  "No")'):
        assert CALLED.search(text), text
    assert not LITERAL.search('label: () => trans.__("Stop")')
    assert not CALLED.search('showErrorMessage(trans.__("No"), why)')


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_translations_are_of_literals(source: Path) -> None:
    """Tools that collect the texts to translate read the sources."""
    calls = re.findall(r"\btrans\.(?:__|_n)\(\s*(.)", source.read_text("utf-8"))
    assert set(calls) <= {'"'}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)
def test_a_setting_has_a_title_and_a_description(schema: Path) -> None:
    content = json.loads(schema.read_text("utf-8"))
    for spec in (content, *content["properties"].values()):
        assert re.match("[A-Z]", spec["title"])
        assert spec["description"].endswith(".")


def test_the_lessons_of_the_extension_are_the_notebooks() -> None:
    text = (LAB / "src" / "lessons.ts").read_text("utf-8")
    listed = re.findall(r'name: "(\w+)",\s+title: trans.__\("(.+?)"\),\s+summary: .*?"(.+?)"', text)
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    titles = []
    for notebook in notebooks:
        first = json.loads(notebook.read_text("utf-8"))["cells"][0]["source"]
        titles.append("".join(first).splitlines()[0].removeprefix("# "))
    assert [(name, title) for name, title, _ in listed] == [
        (path.stem, title) for path, title in zip(notebooks, titles, strict=True)
    ]
    assert all(summary.endswith(".") for _, _, summary in listed)


def test_every_lesson_is_in_the_extension() -> None:
    text = (LAB / "src" / "lesson_copy.ts").read_text("utf-8")
    imported = re.findall(r'import (\w+) from ".*?/(\w+)\.ipynb\?text"', text)
    assert re.findall(r'"(\w+)": (\w+),', text) == [(file, name) for name, file in imported]
    assert [file for _, file in imported] == sorted(
        path.stem for path in (ROOT / "notebooks").glob("*.ipynb")
    )
