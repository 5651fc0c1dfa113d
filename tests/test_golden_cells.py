"""js/test/cells_of_masks.json is still what Python makes."""

from __future__ import annotations

import json

from golden_cells import PATH, golden


def test_the_cells_are_still_these() -> None:
    assert json.loads(PATH.read_text("utf-8")) == json.loads(json.dumps(golden()))
