"""js/test/records.json is still what Python reads in these files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden_records
import pytest
from golden import as_json
from test_golden import alike

from sdwidgets.trace import Trace

GOLDEN: dict[str, Any] = json.loads(golden_records.PATH.read_text("utf-8"))


@pytest.mark.parametrize("name", GOLDEN["files"])
def test_the_page_is_tested_with_what_python_reads(name: str, tmp_path: Path) -> None:
    path = tmp_path / golden_records.NAME
    path.write_bytes(golden_records.read(name))
    fresh = golden_records.expected(Trace.load(path))
    committed = {key: one for key, one in GOLDEN["files"][name].items() if key != "file"}
    alike(json.loads(json.dumps(fresh, default=as_json)), committed, name)


def test_there_is_a_file_of_every_record() -> None:
    assert list(GOLDEN["files"]) == [*golden_records.traces(), "format 1"]
