"""The Studio says what the chosen model is, before it is loaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import one_tensor, write_folder, write_header
from kinds_of_files import FILES

from sdwidgets import Studio
from sdwidgets.checkpoints import hub
from sdwidgets.manager import ModelManager
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.widgets import describing

WAIT = 60


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def settled(studio: Studio) -> str:
    """The line about the model, once it is found out."""
    wait_until(lambda: studio._describing.idle)
    return str(studio.controls.about.value)


@pytest.fixture
def manager(tiny_model: LatentDiffusion) -> Any:
    with ModelManager(load=lambda name, **_: tiny_model) as manager:
        yield manager


def test_a_chosen_file_is_described_before_it_is_loaded(manager: Any, tmp_path: Path) -> None:
    lora = write_header(tmp_path / "puppet.safetensors", FILES["kohya SD1"][0])
    folder = write_folder(tmp_path / "small")
    (tmp_path / "cut.safetensors").write_bytes(one_tensor()[:-1])
    studio = Studio(manager=manager, model=str(lora))
    assert settled(studio) == (
        "LoRA, rank 4, for Stable Diffusion 1, 9.16 kB of float16. It is no whole model; use it "
        "with model.with_lora('puppet.safetensors')."
    )
    studio.controls.fields["model"].value = str(folder)  # as a person does
    line = settled(studio)
    assert line.startswith("Latent diffusion, ") and "predicts eps (its config says so)" in line
    assert "16 x 16 pixels" in line and str(tmp_path) not in line
    studio.prompt = "another"  # which describes the words again
    assert studio.controls.about.value == line
    studio.model = str(tmp_path / "cut.safetensors")
    assert "cut.safetensors is cut" in settled(studio)
    studio.model = "emoji"
    assert settled(studio) == ""
    studio.close()


def test_only_files_and_models_of_the_hub_are_described(
    manager: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "_cache", lambda: tmp_path / "hub")
    assert "downloads it from the hub" in describing.line_about("ana/model")
    for name in ("mine", "", "a\0b", str(tmp_path / "nothing"), "\ud800", "x" * 10_000):
        assert describing.line_about(name) == ""


def test_a_slow_disk_holds_nothing_up_and_the_newest_model_counts(
    manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(model: str) -> str:
        if model == "slow":
            began.set()
            assert go_on.wait(WAIT)
        return f"about {model}"

    monkeypatch.setattr(describing, "line_about", slow)
    studio = Studio(manager=manager, model="slow")
    assert began.wait(WAIT) and studio.controls.about.value == ""
    studio.model = "quick"
    go_on.set()
    assert settled(studio) == "about quick"
    studio.close()
    studio = Studio(manager=manager, model="quick")
    settled(studio)
    studio.close()


def test_a_loaded_model_says_more(manager: Any, tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "small"))
    studio = Studio(manager=manager, model=folder, steps=1)
    assert settled(studio).startswith("Latent diffusion")
    studio.generate()
    studio.wait(WAIT)
    assert studio.controls.about.value.startswith("This model predicts")
    studio._show_words(folder, "late", None)
    assert studio.controls.about.value.startswith("This model predicts")
    studio.close()
