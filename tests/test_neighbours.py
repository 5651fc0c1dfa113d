"""An index of images: what is found, what is skipped, and what is kept in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdwidgets.configs import TINY, ModelConfig, NeighboursConfig, TextConfig, VisionConfig
from sdwidgets.errors import ImageError, InputError
from sdwidgets.models.clip_space import ClipSpace, space_of
from sdwidgets.models.clip_vision import CLIPVision
from sdwidgets.neighbours import Neighbours
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.usefixtures("seeded")
VISION = VisionConfig(size=16, patch=8, width=16, layers=1, heads=2, hidden=32, projection_dim=24)
COLOURS = {"blue": (0, 0, 255), "green": (0, 200, 0), "night": (10, 10, 60), "red": (255, 0, 0)}


class Counted(CLIPVision):
    """Counts the images that it embeds."""

    seen = 0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.seen += len(pixels)
        return super().forward(pixels)


@pytest.fixture
def clip() -> ClipSpace:
    return ClipSpace(Counted(VISION).eval().requires_grad_(False))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    (images / "more").mkdir(parents=True)
    for name, colour in COLOURS.items():
        path = images / ("more" if name == "red" else "") / f"{name}.png"
        Image.new("RGB", (20, 24), colour).save(path)
    return images


def seen(clip: ClipSpace) -> int:
    assert isinstance(clip.vision, Counted)
    count, clip.vision.seen = clip.vision.seen, 0
    return count


def test_the_nearest_come_first_with_their_cosines(clip: ClipSpace, folder: Path) -> None:
    index = Neighbours(folder, clip)
    assert index.names == ("blue.png", "green.png", "more/red.png", "night.png")
    found = index.near(Image.new("RGB", (30, 30), COLOURS["red"]), 3)
    assert found[0].name == "more/red.png" and found[0].similarity == pytest.approx(1, abs=1e-3)
    assert [each.similarity for each in found] == sorted(
        (each.similarity for each in found), reverse=True
    )
    pixels = [
        torch.tensor(c).view(1, 3, 1, 1) / 127.5 - 1 for c in (COLOURS["red"], COLOURS["blue"])
    ]
    a, b = (clip.images(p.expand(1, 3, 16, 16)) for p in pixels)
    among = {each.name: each.similarity for each in index.near(folder / "more" / "red.png", 9)}
    assert among["blue.png"] == pytest.approx(float((a * b).sum()), abs=1e-3)
    assert np.asarray(found[0].image)[0, 0].tolist() == [255, 0, 0]


def test_damaged_images_are_skipped_by_name(clip: ClipSpace, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "notes.txt").write_text("no image")
    index = Neighbours(folder, clip)
    assert len(index) == 4
    assert [*index.skipped] == ["broken.png"] and index.skipped["broken.png"]
    assert repr(index) == "<Neighbours: 4 images, 1 skipped>"


def test_only_what_is_new_or_has_changed_is_embedded(
    clip: ClipSpace, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "index"
    Neighbours(folder, clip, file=file)
    assert seen(clip) == 4
    again = Neighbours(folder, clip, file=file)
    assert seen(clip) == 0 and len(again) == 4
    assert again.near(folder / "blue.png", 1)[0].name == "blue.png"
    seen(clip)
    Image.new("RGB", (9, 9), (255, 255, 0)).save(folder / "blue.png")
    Image.new("RGB", (9, 9), (255, 255, 255)).save(folder / "white.png")
    (folder / "night.png").unlink()
    assert again.update() == 2
    assert again.names == ("blue.png", "green.png", "more/red.png", "white.png")
    seen(clip)
    assert Neighbours(folder, clip, file=file).names == again.names
    assert seen(clip) == 0


def test_an_index_of_another_encoder_is_made_anew(
    clip: ClipSpace, folder: Path, tmp_path: Path
) -> None:
    Neighbours(folder, clip, file=tmp_path / "index")
    other = ClipSpace(Counted(VISION).eval().requires_grad_(False))
    index = Neighbours(folder, other, file=tmp_path / "index")
    assert seen(other) == 4
    assert index.near(folder / "blue.png", 1)[0].similarity == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("content", [b"", b"no index", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_file_that_is_no_index_is_refused_and_stays(
    clip: ClipSpace, folder: Path, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "thesis.doc"
    file.write_bytes(content)
    with pytest.raises(InputError, match="no index of neighbours"):
        Neighbours(folder, clip, file=file)
    assert file.read_bytes() == content


def test_images_without_a_folder(clip: ClipSpace) -> None:
    given = [Image.new("RGB", (16, 16), colour) for colour in COLOURS.values()]
    index = Neighbours(given, clip)
    assert index.names == ("0", "1", "2", "3")
    assert index.near(given[2], 1)[0].name == "2"
    assert Neighbours([], clip).near(given[0]) == ()
    with pytest.raises(InputError, match="Only the index of a folder"):
        Neighbours(given, clip, file="index")


def test_a_model_is_an_encoder_of_images_and_of_texts(
    make_model: Callable[[ModelConfig], LatentDiffusion], folder: Path
) -> None:
    text = TextConfig(
        vocab_size=300, width=16, layers=1, heads=2, hidden=32, bos=298, eos=299, projection_dim=24
    )
    told = NeighboursConfig(width=24, vision=VISION, text=text)
    model = make_model(replace(TINY, embedders=(told,)))
    index = Neighbours(folder, model)
    found = index.near("a cat", 4)
    space = space_of(model.embedders)
    assert space is not None and len(found) == 4
    image = torch.tensor(COLOURS["green"]).view(1, 3, 1, 1).expand(1, 3, 24, 20) / 127.5 - 1
    expected = float((space.texts(["a cat"]) * space.images(image)).sum())
    among = {each.name: each.similarity for each in found}
    assert among["green.png"] == pytest.approx(expected, abs=1e-3)


def test_what_cannot_be_searched_is_refused(
    clip: ClipSpace, folder: Path, tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="reads no texts"):
        Neighbours(folder, clip).near("a cat")
    with pytest.raises(InputError, match="encoder must be a model that takes neighbours"):
        Neighbours(folder, tiny_model)
    with pytest.raises(InputError, match="There is no folder"):
        Neighbours(folder / "nowhere", clip)
    index = Neighbours(folder, clip)
    (found,) = index.near(folder / "blue.png", 1)
    (folder / "blue.png").unlink()
    with pytest.raises(ImageError):
        _ = found.image
    monkeypatch.setitem(sys.modules, "sklearn.neighbors", None)
    with pytest.raises(InputError, match=r"pip install 'sdwidgets\[neighbours\]'"):
        Neighbours(folder, clip)
