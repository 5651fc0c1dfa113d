"""Words in texts: where a text is in another as whole words, however the two are spelt.

Plain text in all scripts, without torch: heat maps, learnt words and prompts find words with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby

Span = tuple[int, int]


@cache
def letters() -> str:
    """The characters that a word goes on with, for a set in a pattern.

    ``\\w`` alone misses combining marks, such as the vowels of Hindi and the accents of decomposed
    letters, and the joiners inside words of Persian.
    """
    marks = (c for c in range(0x300, 0x20000) if unicodedata.category(chr(c))[0] == "M")
    runs = groupby(enumerate(marks), lambda one: one[1] - one[0])
    ranges = [[c for _, c in run] for _, run in runs]
    return r"\w\u200c\u200d" + "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in ranges)


@cache
def word() -> re.Pattern[str]:
    """Finds what a person would call a word: "don't" is one, in "cat, dog" the comma is, too."""
    inside = letters()
    return re.compile(rf"\w[{inside}]*(?:['’]\w[{inside}]*)*|[^\w\s]+")


# Scripts that are written without spaces, where any part of a sentence may be a word: Thai, Lao,
# Tibetan, Myanmar, Khmer, kana and Han (with extensions and compatibility forms).
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


_DRAWN = "\ufe0e\ufe0f"
"""Selectors, which say only how an emoji is drawn."""


def spans_of(text: str, prompt: str) -> list[Span]:
    """Where a text is in a prompt as whole words, as spans of characters.

    Case, the width of spaces, and how accented letters are encoded (Unicode's normal forms) make no
    difference. In scripts without spaces, any part of a sentence counts.
    """
    parts = ["".join(one for one, _ in _folded(part)) for part in text.split()]
    if not parts or not all(parts):
        return []
    letter = f"[{letters()}]"
    pattern = r"\s+".join(map(re.escape, parts))
    if re.match(letter, parts[0][0]) and not _UNSPACED.match(parts[0]):
        pattern = f"(?<!{letter}){pattern}"
    if re.match(letter, parts[-1][-1]) and not _UNSPACED.match(_bases(parts[-1])[-1]):
        pattern = f"{pattern}(?!{letter})"
    folded = list(_folded(prompt))
    places = [place for _, place in folded]
    found = []
    for match in re.finditer(pattern, "".join(one for one, _ in folded)):
        start, end = match.span()
        # letters are whole: an accent is never left behind
        if (start and places[start - 1] == places[start]) or (
            end < len(places) and places[end - 1] == places[end]
        ):
            continue
        last = places[end - 1][1]
        while text[-1] in _DRAWN and last < len(prompt) and prompt[last] in _DRAWN:
            last += 1
        found.append((places[start][0], last))
    return found


def _bases(text: str) -> str:
    """The text without combining marks; the text itself if it has nothing else."""
    return "".join(one for one in text if unicodedata.category(one)[0] != "M") or text


@cache
def _letter() -> re.Pattern[str]:
    """Finds a letter with its marks, or a syllable of Korean in parts."""
    marks = letters().removeprefix(r"\w\u200c\u200d")
    return re.compile(
        rf"[\u1100-\u115f][\u1160-\u11a7]?[\u11a8-\u11ff]?[{marks}]*|.[{marks}]*", re.DOTALL
    )


def _folded(text: str) -> Iterator[tuple[str, Span]]:
    """The characters of a text, composed and without case, each with the span that it came from."""
    for match in _letter().finditer(text):
        plain = unicodedata.normalize("NFD", match[0]).casefold()
        end = match.start() + len(match[0].rstrip(_DRAWN))
        for one in unicodedata.normalize("NFC", plain):
            if one not in _DRAWN:
                yield one, (match.start(), end)
