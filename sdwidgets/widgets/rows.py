"""Rows of ipywidgets, and whether they are shown. CSS places them."""

from __future__ import annotations

from typing import Any

import ipywidgets


def row(name: str, *children: Any) -> Any:
    """A box with a CSS class from its name."""
    box = ipywidgets.HBox(children)
    box.add_class("sdw-row")
    box.add_class(f"sdw-{name}")
    return box


def fold(box: Any, folded: bool) -> None:
    """Hide or show a row."""
    (box.add_class if folded else box.remove_class)("sdw-folded")
