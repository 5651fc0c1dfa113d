"""The notation of prompts: what is weighted, what is text, and where all of it was."""

from __future__ import annotations

import random

import pytest

from sdwidgets.errors import InputError
from sdwidgets.prompts import DEEPEST, fragments, without_marks

UP, DOWN = 1.1, 1 / 1.1


def read(prompt: str) -> list[list[tuple[str, float]]]:
    return [[(each.text, each.weight) for each in part] for part in fragments(prompt)]


# The documented examples of AUTOMATIC1111's parser, and the corners of its rules.
@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", UP), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", UP)]),
        ("a [unbalanced", [("a ", 1.0), ("unbalanced", DOWN)]),
        ("closed) twice]", [("closed) twice]", 1.0)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        (r"a \\ b \c", [("a \\ b c", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", UP)]),
        ("un(believ)able", [("un", 1.0), ("believ", UP), ("able", 1.0)]),
        ("((a))", [("a", UP * UP)]),
        ("(a:0)", [("a", 0.0)]),
        ("(a:-.5)", [("a", -0.5)]),
        ("(a: 1.3)", [("a: 1.3", UP)]),  # a space before the number makes it text
        ("(a:1.2.3) b", [("a:1.2.3", UP), (" b", 1.0)]),
        ("a:1.3)", [("a:1.3)", 1.0)]),
        ("[a:1.3]", [("a:1.3", DOWN)]),
        ("(a [b) c]", [("a ", UP), ("b", UP * DOWN), (" c", DOWN)]),
        ("()[](:1.3)", []),
        ("", [("", 1.0)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0), ("house", 1.3 * UP * UP), (" ", UP), ("on", DOWN * UP), (" a ", UP),
                ("hill", 0.5 * UP), (", sun, ", UP), ("sky", UP**4), (".", UP),
            ],
        ),
    ],
)  # fmt: skip
def test_weights_of_texts(prompt: str, found: list[tuple[str, float]]) -> None:
    (part,) = read(prompt)
    assert [text for text, _ in part] == [text for text, _ in found]
    assert [weight for _, weight in part] == pytest.approx([weight for _, weight in found])


def test_break_divides_a_prompt_even_inside_brackets() -> None:
    assert read("a BREAK b") == [[("a ", 1.0)], [(" b", 1.0)]]
    assert read("(a BREAK b:1.5)") == [[("a ", 1.5)], [(" b", 1.5)]]
    assert read("BREAK a BREAK") == [[], [(" a ", 1.0)], []]
    assert read("BREAKFAST break") == [[("BREAKFAST break", 1.0)]]


def test_every_character_keeps_its_place() -> None:
    rng = random.Random(0)
    parts = ["(", ")", "[", "]", ":1.3)", "\\", "cat", "é", "😀 ", " BREAK ", ":", "7", ", "]
    for _ in range(2000):
        prompt = "".join(rng.choices(parts, k=rng.randrange(12)))
        for each in (each for part in fragments(prompt) for each in part):
            for i, letter in enumerate(each.text):
                start, end = each.span(i, i + 1)
                assert prompt[start:end] == letter, (prompt, each)
        plain = without_marks(prompt)
        assert len(plain) == len(prompt)
        assert all(a in (b, " ") for a, b in zip(plain, prompt, strict=True))


def test_marks_are_spaces_and_escaped_brackets_are_text() -> None:
    assert without_marks(r"a (cat:1.3) BREAK [b] \(c\)") == "a  cat             b   (c )"


@pytest.mark.parametrize("prompt", ["(a:1000)", "(a:-101)", "(a:" + "9" * 400 + ")"])
def test_weights_beyond_the_limit_are_refused(prompt: str) -> None:
    with pytest.raises(InputError, match="weight of") as caught:
        fragments(prompt)
    assert caught.value.parameter == "prompt" and len(str(caught.value)) < 200
    assert without_marks(prompt) == prompt


def test_brackets_without_end_are_refused_and_counted_only_around_text() -> None:
    assert read("(" * 10_000) == [[]]
    with pytest.raises(InputError, match="weights='none'"):
        fragments("(" * (DEEPEST + 1) + "a")
    with pytest.raises(InputError):
        fragments("(a" * 50_000)
