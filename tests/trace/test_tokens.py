from __future__ import annotations

from typing import Any

import pytest

from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import PromptTokens


def read(model: LatentDiffusion, prompt: str) -> PromptTokens:
    (tokens,) = model.sample(prompt, steps=1, seed=0).prompt_tokens()
    return tokens


def test_a_words_tokens_are_all_its_pieces(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "a bird and a cat")  # the vocabulary has "cat", but spells "bird"
    bird = tokens.find("bird")
    assert [tokens.pieces[token - 1] for token in bird] == list("bird")
    assert len(tokens.find("cat")) == 1


def test_all_occurrences_of_whole_words_count(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "Cat, catcat; cat")
    assert len(tokens.find("cat")) == 2


def test_one_occurrence_may_be_asked_for(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "cat the cat")
    assert tokens.find("cat", occurrence=0) == (1,)
    assert tokens.find("cat", occurrence=-1) == tokens.find("cat", occurrence=1) == (3,)


def test_several_words_may_be_asked_for(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "the cat  and the dog")
    assert tokens.find("the cat") == tokens.find("the", occurrence=0) + tokens.find("cat")


def test_a_word_may_be_a_number_or_a_span(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "the cat the dog")
    assert [word.text for word in tokens.words] == ["the", "cat", "the", "dog"]
    assert tokens.find(1) == tokens.find((4, 7)) == tokens.find("cat")
    assert tokens.find(-2) == tokens.find("the", occurrence=1)


def test_start_end_and_padding_are_tokens_too(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "the cat")
    assert [tokens.find(name) for name in ("<start>", "<end>", "<padding>")] == [(0,), (3,), (-1,)]
    assert tokens.slots == 77


def test_every_piece_belongs_to_a_word(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "don't: 👨‍👩‍👧, the cat's (bird) שלום")
    found = [token for word in tokens.words for token in word.tokens]
    assert set(found) == set(range(1, len(tokens.pieces) + 1))
    assert "don't" in [word.text for word in tokens.words]


def written(prompt: str) -> PromptTokens:
    """Return tokens, with a token per character."""
    return PromptTokens(prompt, tuple(prompt), tuple((i, i + 1) for i in range(len(prompt))))


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("un cafe\u0301 e\u0301te\u0301.", ["un", "cafe\u0301", "e\u0301te\u0301", "."]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("วันนี้ สวัสดี", ["วันนี้", "สวัสดี"]),
        ("cat, 1\ufe0f\u20e3", ["cat", ",", "1\ufe0f\u20e3"]),
        ("L’e\u0301te\u0301 \u2764\ufe0f!", ["L’e\u0301te\u0301", "\u2764\ufe0f!"]),
    ],
)
def test_words_keep_their_marks(prompt: str, words: list[str]) -> None:
    tokens = written(prompt)
    assert [word.text for word in tokens.words] == words
    for word in tokens.words:
        assert tokens.find(word.text) == word.tokens


@pytest.mark.parametrize(
    ("prompt", "part"), [("नमस्ते", "नमस"), ("नमस्ते", "ते"), ("cafe\u0301", "cafe")]
)
def test_a_letter_without_its_mark_is_another_word(prompt: str, part: str) -> None:
    with pytest.raises(InputError, match="not a word"):
        written(prompt).find(part)


@pytest.mark.parametrize(
    ("prompt", "word", "span"),
    [
        ("un café noir", "cafe\u0301", (3, 7)),
        ("un cafe\u0301 noir", "CAFÉ", (3, 8)),
        ("Weiße Straße", "STRASSE", (6, 12)),
        ("ΟΔΟΣ μεγάλη", "οδος", (0, 4)),
        ("Việt Nam", "vie\u0302\u0323t", (0, 4)),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8 \u110c\u1175\u11b8", "한국", (0, 6)),
        ("一只黑猫坐在车上", "黑猫", (2, 4)),
        ("赤い車と猫の絵", "猫", (4, 5)),
        ("カタカナ", "タカ", (1, 3)),
        ("แมวดำนั่งบนรถ", "แมว", (0, 3)),
        ("แมวดำนั่งบนรถ", "ดำ", (3, 5)),
        ("a cat 黑猫 dog", "猫", (7, 8)),
        ("\u212b unit", "å", (0, 1)),
    ],
)
def test_words_are_found_in_any_form_and_inside_sentences_without_spaces(
    prompt: str, word: str, span: tuple[int, int]
) -> None:
    tokens = written(prompt)
    assert tokens.find(word) == tuple(range(span[0] + 1, span[1] + 1)) == tokens.find(span)


@pytest.mark.parametrize(
    ("prompt", "part"), [("café", "caf"), ("Straße", "stras"), ("黑猫x", "x猫"), ("กินข้าว", "ข")]
)
def test_parts_of_words_and_of_letters_are_not_found(prompt: str, part: str) -> None:
    with pytest.raises(InputError, match=r"(?s)not a word.*\(start, end\)"):
        written(prompt).find(part)


def test_an_emoji_is_found_however_it_is_to_be_drawn() -> None:
    assert written("a \u2764\ufe0f").find("\u2764") == (3,)


@pytest.mark.parametrize(
    "word",
    ["x" * 5000, "a\n" * 50, 10**5000, (10**5000, 1)],
    ids=["text", "lines", "number", "span"],
)
def test_an_error_about_a_long_word_is_short(word: Any) -> None:
    with pytest.raises(InputError) as caught:
        written("the cat").find(word)
    assert len(str(caught.value)) < 300 and len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("word", ["bird", "ca", "", "   ", "(", "a b"])
def test_a_word_that_is_not_there_names_those_that_are(
    tiny_model: LatentDiffusion, word: str
) -> None:
    with pytest.raises(InputError, match="Its words: the, cat"):
        read(tiny_model, "the cat").find(word)


def test_a_word_that_was_cut_is_told_so(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(InputError, match="was cut"):
        read(tiny_model, "cat " * 750 + "dog").find("dog")


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"word": 5.0}, "word"),
        ({"word": True}, "word"),
        ({"word": 2}, "word"),
        ({"word": -3}, "word"),
        ({"word": (7, 9)}, "word"),
        ({"word": (1, 2, 3)}, "word"),
        ({"occurrence": 1}, "occurrence"),
        ({"occurrence": True}, "occurrence"),
        ({"occurrence": "first"}, "occurrence"),
    ],
)
def test_what_cannot_be_found(
    tiny_model: LatentDiffusion, asked: dict[str, Any], parameter: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tiny_model, "the cat").find(**{"word": "cat", **asked})
    assert caught.value.parameter == parameter
    assert len(str(caught.value).splitlines()) <= 3
