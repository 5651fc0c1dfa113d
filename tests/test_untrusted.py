"""Files that are not trusted."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest

from sdwidgets.untrusted import NotRegular, format_of, is_pickle, open_regular


def test_a_regular_file_is_opened_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    for path in (tmp_path / "file", tmp_path / "link"):
        if not path.exists():
            path.symlink_to(tmp_path / "file")
        with open_regular(path) as file:
            assert file.readall() == b"content"


@pytest.mark.timeout(10)
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
def test_nothing_else_is_opened_or_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRegular, match="a pipe, socket or device"):
        open_regular(tmp_path / "pipe")
    with pytest.raises(NotRegular, match="a pipe, socket or device"):
        open_regular("/dev/zero")
    with pytest.raises(NotRegular, match="a folder"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing")
    with pytest.raises(OSError, match="null"):
        open_regular("a\0b")


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"\xef\xbb\xbf\n<!DOCTYPE HTML>", "a web page"),
        (b' {"a": 1}', "a JSON text"),
        (b"version https://git-lfs.github.com/spec/v1\noid 0\nsize 1234\n", "for a file of 1,234"),
        (pickle.dumps({"x": 1}), "a Python pickle"),
    ],
)
def test_other_formats_are_named(first: bytes, what: str) -> None:
    assert what in (format_of(first) or "")


def test_what_is_unknown_has_no_name() -> None:
    assert format_of(bytes(600)) is None and format_of(b"") is None
    assert not is_pickle(b"\x80") and is_pickle(b"PK\x03\x04")
