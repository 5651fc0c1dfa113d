"""js/test/golden.json is still what Python sends to the page."""

from __future__ import annotations

import base64
import json
from typing import Any

import golden
import numpy as np
import pytest

from sdwidgets.lab.edits import Paint
from sdwidgets.widgets.lab_messages import understood
from sdwidgets.widgets.upload import Part

REMEDY = "if that is meant, run: python tests/golden.py"


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    return json.loads(golden.PATH.read_text("utf-8"))


@pytest.fixture(scope="module")
def fresh() -> dict[str, Any]:
    return json.loads(golden.text())


def alike(some: Any, others: Any, where: str) -> None:
    """Assert that two values of the JSON are equal, floats up to rounding."""
    __tracebackhide__ = True
    assert type(some) is type(others), f"{where}: {REMEDY}"
    if isinstance(some, dict):
        assert list(some) == list(others), f"{where}: {REMEDY}"
        for name in some:
            alike(some[name], others[name], f"{where}.{name}")
    elif isinstance(some, list):
        assert len(some) == len(others), f"{where}: {REMEDY}"
        for i, (one, other) in enumerate(zip(some, others, strict=True)):
            alike(one, other, f"{where}[{i}]")
    elif isinstance(some, float):
        assert some == pytest.approx(others, rel=1e-4, abs=2e-5), f"{where}: {REMEDY}"
    elif where.endswith("$bytes"):
        alike_bytes(base64.b64decode(some), base64.b64decode(others), where)
    else:
        assert some == others, f"{where}: {REMEDY}"


def alike_bytes(some: bytes, others: bytes, where: str) -> None:
    """Assert that bytes are equal, except for a few numbers that were rounded.

    Image files may differ, because a library compresses them.
    """
    __tracebackhide__ = True
    assert some[:4] == others[:4], f"{where}: {REMEDY}"
    if some.startswith(b"\x89PNG"):
        return
    assert len(some) == len(others), f"{where}: {REMEDY}"
    off = np.abs(np.frombuffer(some, np.uint8).astype(int) - np.frombuffer(others, np.uint8))
    off = np.minimum(off, 256 - off)  # the lower byte of a number may wrap around
    assert off.max() <= 1, f"{where}: {REMEDY}"


@pytest.mark.parametrize("part", ["run", "curve", "colormaps", "lab", "asked"])
def test_the_page_is_tested_with_what_python_sends(
    committed: dict[str, Any], fresh: dict[str, Any], part: str
) -> None:
    alike(fresh[part], committed[part], part)


def test_python_understands_what_the_page_is_tested_to_send(committed: dict[str, Any]) -> None:
    asked = committed["asked"]
    data = base64.b64decode(asked["file"]["data"]["$bytes"])
    kind, (part,) = understood(asked["file"]["message"], [data])
    assert (kind, part) == ("file", Part("a.png", 6, 0, 1, True, b"a file"))
    paint = Paint(channel=1, value=-2.5, cells=((0, 1), (1, 1)), mode="add")
    assert understood(asked["stroke"], None) == ("edit", (paint, False))


def test_every_part_is_compared(committed: dict[str, Any]) -> None:
    assert list(committed) == ["run", "curve", "colormaps", "lab", "asked"]


@pytest.mark.parametrize("change", [lambda film: film[:-4], lambda film: film[:-1] + b"\x80"])
def test_other_bytes_would_be_noticed(committed: dict[str, Any], change: Any) -> None:
    film = base64.b64decode(committed["run"]["film"]["$bytes"])
    with pytest.raises(AssertionError, match="golden"):
        alike_bytes(change(film), film, "film")
