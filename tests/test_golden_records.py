"""js/test/records.json and refused.json still have what Python says of their files."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import golden_records
import golden_refused
import pytest
from golden import as_json
from test_golden import alike

from sdwidgets.trace import Trace

GOLDEN: dict[str, Any] = golden_records.committed()


@pytest.mark.parametrize("name", GOLDEN["files"])
def test_the_page_is_tested_with_what_python_reads(name: str, tmp_path: Path) -> None:
    path = tmp_path / golden_records.NAME
    path.write_bytes(base64.b64decode(GOLDEN["files"][name]["file"]["$bytes"]))
    fresh = golden_records.expected(Trace.load(path))
    committed = {key: one for key, one in GOLDEN["files"][name].items() if key != "file"}
    alike(json.loads(json.dumps(fresh, default=as_json)), committed, name)


def test_there_is_a_file_of_every_record() -> None:
    assert list(GOLDEN["files"]) == [*golden_records.traces(), "format 1"]


def test_python_still_refuses_what_the_page_is_tested_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    committed = golden_refused.committed()
    files, start = gzip.decompress(base64.b64decode(committed["files"])), 0
    for case in committed["cases"]:
        size, what = case.pop("size"), case.pop("what")
        assert golden_refused.verdict(files[start : start + size]) == case, what
        start += size
    assert start == len(files) and len(committed["cases"]) > 500


def test_python_still_reads_the_images_that_the_page_is_tested_to_read() -> None:
    committed = golden_refused.committed()
    files, start = gzip.decompress(base64.b64decode(committed["images"])), 0
    for case in committed["image_cases"]:
        size, what = case.pop("size"), case.pop("what")
        found = golden_refused.image_verdict(files[start : start + size])
        assert json.loads(json.dumps(found)) == case, what
        start += size
    assert start == len(files) and len(committed["image_cases"]) > 100
