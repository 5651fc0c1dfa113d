from __future__ import annotations

import pytest

from sdwidgets.class_names import COCO_STUFF, IMAGENET, OPEN_IMAGES


@pytest.mark.parametrize(
    ("names", "count", "some"),
    [
        (IMAGENET, 1000, {0: "tench", 207: "golden retriever", 999: "toilet tissue"}),
        (COCO_STUFF, 182, {0: "person", 91: "banner", 154: "sea", 181: "wood"}),
        (OPEN_IMAGES, 340, {0: "tortoise", 37: "person", 253: "dog", 339: "suitcase"}),
    ],
    ids=["ImageNet", "COCO-Stuff", "Open Images"],
)  # fmt: skip
def test_classes_have_their_published_numbers(
    names: tuple[str, ...], count: int, some: dict[int, str]
) -> None:
    assert len(names) == count == len({name.casefold() for name in names})
    assert all(name and name == " ".join(name.split()) for name in names)
    assert {number: names[number] for number in some} == some
