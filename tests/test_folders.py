"""Texts that are saved name files without their folders, and stay as they are otherwise."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import sdwidgets as sdw
from sdwidgets.errors import CheckpointError, CheckpointNotFound
from sdwidgets.folders import without_folders
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.widgets.watching import in_words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("There is no model '/home/ana/My models/x.ckpt': no file.", "'x.ckpt': no file."),
        ("/srv/ana/x.pt belongs to another training.", "x.pt belongs to another training."),
        ("~/secret/x.pt is a folder", "x.pt is a folder"),
        (r"C:\Users\ana\x.pt is a folder", "x.pt is a folder"),
        (r"'C:\\Users\\Ana B\\x.pt' is a folder", "'x.pt' is a folder"),
        (r"\\server\share\x.pt is a folder", "x.pt is a folder"),
        ("Two: /a/b/x.pt, /a/c/y.pt.", "Two: x.pt, y.pt."),
    ],
)
def test_only_the_name_of_a_file_is_left(text: str, said: str) -> None:
    assert without_folders(text).endswith(said)
    for private in ("ana", "Ana", "srv", "secret", "/a", "server"):
        assert private not in without_folders(text)


def test_the_users_own_folder_may_have_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/Ana Berg"))
    assert without_folders("/home/Ana Berg/models/x.pt is empty") == "x.pt is empty"


@pytest.mark.parametrize(
    "text",
    [
        "The model 'owner/name' is at https://huggingface.co/owner/name, and/or at 1/8.",
        "unet/model.safetensors: some weights have only 8 bits.",
        "12 / 20 steps; 3 s / step",
        r"name must be a text, got '\ud800'.",
        "Try width=64, height=64.\nTwo lines: a/b",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert without_folders(text) == text


def test_a_pages_message_has_no_folder() -> None:
    assert in_words(CheckpointError("/srv/ana/x.pt is empty.")) == "x.pt is empty."
    assert in_words(FileNotFoundError(2, "No such file", "/srv/ana/x.pt")) == (
        "FileNotFoundError: [Errno 2] No such file: 'x.pt'"
    )


def test_a_record_has_no_folder(tiny_model: LatentDiffusion) -> None:
    model = replace(tiny_model, notices=("Doubts about '/srv/ana/x.pt'.",))
    trace = model.generate("a cat", steps=1, seed=1)
    assert trace.notices[0] == "Doubts about 'x.pt'."
    assert b"/srv" not in trace.png()


def test_a_studio_shows_no_folder_of_a_model_that_is_missing() -> None:
    with closing(sdw.Studio(model="/srv/ana/x.safetensors")) as studio:
        studio.generate()
        with pytest.raises(CheckpointNotFound, match="/srv/ana"):
            studio.wait()
        assert "'x.safetensors'" in studio.view.message
        assert "/srv" not in repr(studio.view.get_state())
