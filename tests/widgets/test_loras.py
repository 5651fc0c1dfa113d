"""The Studio's list of LoRAs, without a browser: rows, strengths, errors, records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lora_files import kohya, layers_of, named, write

from sdwidgets.errors import CheckpointError, InputError
from sdwidgets.loras import Lora
from sdwidgets.manager import ModelManager
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import read_record
from sdwidgets.widgets import Studio
from sdwidgets.widgets.results import title_of

WAIT = 60  # seconds, never reached


@pytest.fixture
def manager(tiny_model: LatentDiffusion) -> Iterator[ModelManager]:
    with ModelManager() as manager:
        manager.add(tiny_model, "tiny")
        yield manager


@pytest.fixture
def studio(manager: ModelManager) -> Iterator[Studio]:
    made = Studio(manager, model="tiny", steps=1, width=16, height=16, seed=3)
    yield made
    made.close()


@pytest.fixture
def file(tiny_model: LatentDiffusion, tmp_path: Path) -> Path:
    return a_file(tiny_model, tmp_path / "warm.safetensors")


def a_file(model: LatentDiffusion, path: Path) -> Path:
    tensors = named(model.unet, layers_of(model.unet, "attn2"), kohya("lora_unet_"), rank=4)
    return write({name: 10 * each for name, each in tensors.items()}, path)


def run(studio: Studio) -> Any:
    studio.generate()
    return studio.wait(WAIT)


def rows(studio: Studio) -> list[Any]:
    return studio.controls.loras.rows


def test_a_row_is_added_filled_and_used(studio: Studio, file: Path) -> None:
    plain = run(studio)
    studio.controls.loras.add.click()
    (row,) = rows(studio)
    assert studio.loras == ()  # no file yet
    row.path.value = str(file)
    assert studio.loras == (Lora(file),)
    row.strength.value = 0.5
    assert studio.loras == (Lora(file, 0.5),)
    found = run(studio)
    assert (found.sources[-1].name, found.sources[-1].strength) == ("warm.safetensors", 0.5)
    assert (found.steps[-1].x_next != plain.steps[-1].x_next).any()
    row.use.value = False
    assert studio.loras == () and rows(studio) == [row]
    again = run(studio)
    assert (again.steps[-1].x_next == plain.steps[-1].x_next).all() and not again.sources
    row.use.value = True
    row.away.click()
    assert studio.loras == () and not rows(studio)


def test_text_encoders_have_their_own_strength_behind_more(studio: Studio, file: Path) -> None:
    studio.loras = [file]
    (row,) = rows(studio)
    hidden = "sdw-folded"
    assert hidden in row.text_strength._dom_classes
    row.strength.value = 0.7
    row.more.value = True
    assert hidden not in row.text_strength._dom_classes
    assert studio.loras == (Lora(file, 0.7),)  # the same until it is another
    row.text_strength.value = 0.2
    assert studio.loras == (Lora(file, 0.7, 0.2),)
    row.more.value = False
    assert studio.loras == (Lora(file, 0.7),)


def test_the_trait_fills_the_rows(studio: Studio, file: Path) -> None:
    studio.loras = [(file, 0.3, 0.1), "other.safetensors"]
    one, two = rows(studio)
    assert (one.path.value, one.strength.value) == (str(file), 0.3)
    assert one.more.value and one.text_strength.value == 0.1 and not two.more.value
    assert "sdw-folded" not in studio.controls.loras.box._dom_classes
    studio.loras = []
    assert not rows(studio) and "sdw-folded" in studio.controls.loras.box._dom_classes
    for wrong in ("a.safetensors", [3], [("a", 1e7)]):
        with pytest.raises(InputError):
            studio.loras = wrong
    studio.controls.more.value = True
    assert "sdw-folded" not in studio.controls.loras.box._dom_classes


def test_an_error_is_at_its_row(
    studio: Studio, file: Path, tmp_path: Path, tiny_model: LatentDiffusion
) -> None:
    strange = write(
        {"lora_unet_x.lora_up.weight": next(tiny_model.unet.parameters())},
        tmp_path / "strange.safetensors",
    )
    studio.loras = [file, strange]
    studio.generate()
    with pytest.raises(CheckpointError):
        studio.wait(WAIT)
    one, two = rows(studio)
    assert one.problem.value == "" and "1 of 1 modules have no place" in two.problem.value
    assert studio.state == "error"
    two.path.value = str(tmp_path / "nothing.safetensors")
    assert two.problem.value == "" and studio.error is None
    studio.generate()
    with pytest.raises(CheckpointError):
        studio.wait(WAIT)
    assert "no file" in two.problem.value


def test_a_strength_that_no_lora_has_is_not_used(studio: Studio, file: Path) -> None:
    studio.loras = [file]
    (row,) = rows(studio)
    row.strength.value = 1e9
    assert "strength" in row.problem.value and studio.loras == (Lora(file),)
    with pytest.raises(InputError):
        studio.generate()
    row.strength.value = 2
    assert row.problem.value == "" and studio.loras == (Lora(file, 2.0),)


def test_an_earlier_result_brings_its_loras_back(studio: Studio, file: Path) -> None:
    studio.loras = [(file, 0.5)]
    first = run(studio)
    number = [*studio.history.results][-1].id
    assert "with warm.safetensors at 0.5" in [*studio.history.results][-1].title
    studio.loras = []
    run(studio)
    studio._recall(number)
    assert studio.loras == (Lora(file, 0.5),)
    again = run(studio)
    assert (again.steps[-1].x_next == first.steps[-1].x_next).all()


def test_a_png_brings_back_loras_whose_files_are_known(
    studio: Studio, manager: ModelManager, file: Path
) -> None:
    studio.loras = [(file, 0.5, 0.25)]
    record = read_record(run(studio).png()) or {}
    (source,) = record["sources"]
    assert source["text_strength"] == 0.25 and len(source["sha256"]) == 64
    studio.loras = []
    assert "LoRA" not in studio._restore(record, ())
    assert studio.loras == (Lora(file, 0.5, 0.25),)
    other = Studio(manager, model="tiny")
    said = other._restore(record, ())
    assert "the LoRA warm.safetensors at 0.5 (text 0.25)" in said and "add the file" in said
    assert other.loras == ()
    record["sources"] = [{"kind": "lora", "name": "", "strength": "x"}, 3, source]
    assert "warm.safetensors" in other._restore(record, ())
    other.close()


def test_titles_name_loras_without_their_folders() -> None:
    from sdwidgets.settings import Settings

    loras = [Lora(Path(f"/home/ana/{name}.safetensors")) for name in "abcde"]
    title = title_of("emoji", Settings(seed=1), "", loras)
    assert "a.safetensors at 1" in title and "2 more LoRAs" in title and "ana" not in title


def test_closing_the_studio_closes_the_rows(manager: ModelManager, file: Path) -> None:
    studio = Studio(manager, model="tiny", loras=[file])
    (row,) = rows(studio)
    studio.close()
    assert row.box.comm is None and row.path.comm is None
