"""The lab's images in the order in which they came."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_autoencoders import noise

from sdwidgets.errors import ImageError, InputError
from sdwidgets.widgets.lab_sources import LARGEST_KEPT, Sources, source_of


@pytest.fixture
def sources() -> Sources:
    return Sources()


def test_a_samples_name_a_path_and_an_image_are_read(sources: Sources, tmp_path: Path) -> None:
    sample = sources.read("frogs")
    assert (sample.name, sample.caption) == ("frogs", "a red picture: four frogs")
    noise(20, 10).save(tmp_path / "mine.png")
    assert sources.read(tmp_path / "mine.png").name == "mine.png"
    assert sources.read(noise(20, 10)).name == "image"


def test_what_is_no_image_or_no_sample_is_refused(sources: Sources) -> None:
    with pytest.raises(ImageError):
        sources.read(b"no image")
    with pytest.raises(InputError, match="sample"):
        sources.sample("none such")


def test_a_large_image_is_kept_smaller_and_that_is_said() -> None:
    source = source_of(noise(2 * LARGEST_KEPT, 64), "wide")
    assert source.image.size == (LARGEST_KEPT, 32)
    assert source.notices == (f"The image came with {2 * LARGEST_KEPT} x 64 pixels.",)


def test_the_second_begins_as_the_sample_after_the_first(sources: Sources) -> None:
    names = list(sources.samples)
    sources.choose_second()
    assert sources.second is None  # there is no first image yet
    sources.first = sources.sample(names[-1])
    sources.choose_second()
    assert sources.second is not None and sources.second.name == names[0]
    sources.first = sources.sample(names[2])
    sources.choose_second()
    assert sources.second.name == names[0]  # chosen once


def test_two_images_change_places(sources: Sources) -> None:
    sources.first = one = source_of(noise(40, 40), "one")
    assert not sources.swap()
    sources.second = two = source_of(noise(50, 40), "two")
    assert sources.swap()
    assert (sources.first, sources.second) == (two, one)


def test_images_are_brought_to_their_size(sources: Sources) -> None:
    assert sources.first_at(64) is None and sources.second_at((8, 8)) is None
    sources.first = source_of(noise(200, 100), "one")
    first = sources.first_at(64)
    assert first is not None
    assert first.image.size == (64, 32)
    assert first.notices == ("The image was resized from 200 x 100 to 64 x 32.",)
    sources.second = source_of(noise(50, 50), "two")
    second = sources.second_at(first.image.size)
    assert second is not None and second.image.size == (64, 32)
