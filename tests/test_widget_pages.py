"""``docs/widgets.md`` says what the docstrings say, about every public widget."""

from __future__ import annotations

import re
from typing import Any

import pytest
from widget_pages import DOCS, PAGE, documented, markdown, page, public_widgets, undocumented


def test_the_page_is_up_to_date() -> None:
    told = "It is out of date: python tests/widget_pages.py"
    assert PAGE.read_text(encoding="utf-8") == page(), told


@pytest.mark.parametrize("kind", public_widgets(), ids=lambda kind: kind.__name__)
def test_every_trait_has_a_docstring(kind: type[Any]) -> None:
    assert undocumented(kind) == []
    assert {name: text for name, text in documented(kind) if not text.endswith((".", ")"))} == {}


def test_a_class_own_trait_and_default_come_before_its_base() -> None:
    text = PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"\n## (\w+)\n(.*?)(?=\n## |\Z)", text, re.DOTALL))
    assert [*sections] == [kind.__name__ for kind in public_widgets()]
    assert "| `panels` | `['attention']` |" in sections["Attention"]
    assert sections["Viewer"].index("`panels`") < sections["Viewer"].index("`step`")


def test_its_images_are_there() -> None:
    images = re.findall(r"\]\(([\w.-]+\.png)\)", PAGE.read_text(encoding="utf-8"))
    assert images
    assert [name for name in images if not (DOCS / name).is_file()] == []


def test_an_indented_block_becomes_code_and_the_text_goes_on() -> None:
    text = "First ``line``.\n\nExample::\n\n    x = 1\n\n    y = 2\n\nMore."
    wanted = "First `line`.\n\nExample:\n\n```python\nx = 1\n\ny = 2\n```\n\nMore."
    assert markdown(text) == wanted
    assert markdown("So::\n\n    x") == "So:\n\n```python\nx\n```"
