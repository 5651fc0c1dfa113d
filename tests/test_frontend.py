"""Where the built front end is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sdwidgets import frontend
from sdwidgets.errors import SDWidgetsError


def test_a_bundle_that_was_never_built_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(frontend, "STATIC", tmp_path)
    with pytest.raises(SDWidgetsError, match=r"hatch_build\.py"):
        frontend.bundle("picture.js")


@pytest.mark.parametrize("kind", ["js", "css"])
def test_no_bundle_ends_the_element_it_is_put_in(kind: str) -> None:
    for path in frontend.STATIC.glob(f"*.{kind}"):
        assert not re.search(r"</(script|style)|<!--", path.read_text("utf-8"), re.IGNORECASE), path
