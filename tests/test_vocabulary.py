from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest

import sdwidgets
from sdwidgets.checkpoints.folder import vocabulary_of
from sdwidgets.errors import CheckpointError
from sdwidgets.scenes import caption_words, make_scene
from sdwidgets.vocabulary import (
    NAMED,
    nearest_word,
    unknown_notice,
    unknown_words,
    words_of,
)

WORDS = {"things": ("cat", "tree"), "colors": ("gray", "blue", "café"), "others": ("a", "on")}


def unknown(prompt: str) -> list[str]:
    return [each.word for each in unknown_words(prompt, WORDS)]


def test_words_that_were_not_taught_are_found_where_they_are() -> None:
    prompt = "A cat, on a skateboard (grey)!"
    found = unknown_words(prompt, WORDS)
    assert [each.word for each in found] == ["skateboard", "grey"]
    assert [prompt[slice(*each.span)] for each in found] == ["skateboard", "grey"]


@pytest.mark.parametrize("prompt", ["", "  ", "a CAT", "Cat - on: a (tree), blue...", "cat's tree"])
def test_case_and_punctuation_are_no_words(prompt: str) -> None:
    assert unknown(prompt) == []


def test_composed_and_decomposed_characters_are_the_same() -> None:
    assert unknown(unicodedata.normalize("NFD", "Café")) == []


def test_emoji_and_numbers_are_words() -> None:
    assert unknown("3 cat 🐱 猫") == ["3", "🐱", "猫"]


def test_the_nearest_word_is_one_that_is_spelt_alike() -> None:
    assert nearest_word("grey", WORDS) == "gray"
    assert nearest_word("Trees", WORDS) == "tree"
    assert nearest_word("skateboard", WORDS) == ""


def test_a_notice_names_each_word_once_and_not_too_many() -> None:
    assert unknown_notice(["a cat"], WORDS) == ()
    assert unknown_notice(["anything"], None) == ()
    (notice,) = unknown_notice(["a grey dog", "a Dog"], WORDS)
    assert notice == 'The model was never taught: "grey" (nearest: "gray"), "dog".'
    (notice,) = unknown_notice([" ".join(f"word{i}" for i in range(100))], WORDS)
    assert notice.endswith(f"and {100 - NAMED} more.") and len(notice) < 400


def test_the_bundled_model_brings_the_words_of_its_captions() -> None:
    folder = Path(sdwidgets.__file__).parent / "weights" / "emoji"
    words = vocabulary_of(folder / "vocabulary.json")
    assert words == caption_words()
    assert {"cat", "gray", "left", "three", "butterflies"} <= set(words_of(words))


def test_all_words_of_captions_are_among_them() -> None:
    rng, words = random.Random(0), caption_words()
    captions = [make_scene(rng).caption for _ in range(2_000)]
    assert not {each.word for text in captions for each in unknown_words(text, words)}
    said = set(" ".join(captions).replace(",", "").replace(":", "").split())
    assert set(words_of(words)) <= said  # and no others


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"words": ["cat"]}', '{"words": {"a": [5]}}', '{"words": {"a": [""]}}'],
)
def test_a_broken_list_of_words_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "vocabulary.json").write_text(text)
    with pytest.raises(CheckpointError, match="vocabulary"):
        vocabulary_of(tmp_path / "vocabulary.json")
