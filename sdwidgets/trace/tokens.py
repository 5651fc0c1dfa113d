"""A prompt as the network read it: its pieces, which of them make up a word, what was cut.

Plain data without torch: records keep it, and heat maps and widgets find words with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from typing import Any, NamedTuple

from .. import checks
from ..errors import InputError

Span = tuple[int, int]


@cache
def _letters() -> str:
    """The characters that a word goes on with, for a set in a pattern.

    ``\\w`` alone misses combining marks, such as the vowels of Hindi and the accents of decomposed
    letters, and the joiners inside words of Persian.
    """
    marks = (c for c in range(0x300, 0x20000) if unicodedata.category(chr(c))[0] == "M")
    runs = groupby(enumerate(marks), lambda one: one[1] - one[0])
    ranges = [[c for _, c in run] for _, run in runs]
    return r"\w\u200c\u200d" + "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in ranges)


@cache
def _word() -> re.Pattern[str]:
    """Finds what a person would call a word: "don't" is one, in "cat, dog" the comma is, too."""
    letters = _letters()
    return re.compile(rf"\w[{letters}]*(?:['’]\w[{letters}]*)*|[^\w\s]+")


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
    letter = f"[{_letters()}]"
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
    marks = _letters().removeprefix(r"\w\u200c\u200d")
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


class Word(NamedTuple):
    """A word of a prompt, as written there."""

    text: str
    tokens: tuple[int, ...]  # its pieces, as columns of the attention
    start: int  # in characters of the prompt
    end: int


@dataclass(frozen=True)
class PromptTokens:
    """The tokens of one prompt.

    Token 0 is the start. Token i + 1 is ``pieces[i]``, which is characters ``spans[i]`` of the
    prompt. The end follows, then padding up to ``slots`` tokens in all, for which recorded
    attention has a single column.
    """

    prompt: str
    pieces: tuple[str, ...]
    spans: tuple[Span, ...]
    cut: str = ""  # the end of the prompt that the network never saw
    slots: int = 77

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of the prompt that the network saw, in order, each with its tokens."""
        words = []
        for match in _word().finditer(self.prompt):
            tokens = self._within(*match.span())
            if tokens:
                words.append(Word(match[0], tokens, *match.span()))
        return tuple(words)

    def _within(self, start: int, end: int) -> tuple[int, ...]:
        """The tokens that have characters in that span."""
        spans = enumerate(self.spans, start=1)
        return tuple(i for i, (first, last) in spans if first < end and last > start)

    def find(self, word: str | int | Span, *, occurrence: int | None = None) -> tuple[int, ...]:
        """The tokens of a word: of all its occurrences, or of one (0, 1, ..., or -1 the last).

        ``word``: a text, which may be several words; an index into `words`; a (start, end) of
        characters; or "<start>", "<end>", "<padding>". Raises InputError for a word that is not
        there, naming those that are.
        """
        found = self._occurrences(word)
        if occurrence is None:
            return tuple(dict.fromkeys(token for tokens in found for token in tokens))
        return found[checks.index("occurrence", occurrence, len(found))]

    def _occurrences(self, word: Any) -> list[tuple[int, ...]]:
        if isinstance(word, str):
            return self._of_text(word)
        if checks.is_whole(word):
            if not -len(self.words) <= word < len(self.words):
                raise self._unknown(
                    f"There is no word {checks.shown(word)}: there are {len(self.words)}."
                )
            return [self.words[word].tokens]
        if isinstance(word, (tuple, list)) and len(word) == 2 and all(map(checks.is_whole, word)):
            tokens = self._within(*word)
            if not tokens:
                raise self._unknown(f"No token has characters {checks.shown(tuple(word))}.")
            return [tokens]
        raise InputError(
            f"word must be a text, a number or a (start, end), got {checks.shown(word)}.\n"
            "Give a word of the prompt.",
            parameter="word",
        )

    def _of_text(self, text: str) -> list[tuple[int, ...]]:
        """The tokens of each occurrence of a text as whole words, ignoring case."""
        end = len(self.pieces) + 1  # padding, even after a shorter prompt of a batch, is the last
        special = {"<start>": (0,), "<end>": (end,), "<padding>": (-1,)}
        if text in special:
            return [special[text]]
        found = (self._within(*span) for span in spans_of(text, self.prompt))
        if tokens := [some for some in found if some]:
            return tokens
        if spans_of(text, self.cut):
            raise self._unknown(
                f"{checks.shown(text)} was cut from the prompt, which was too long."
            )
        raise self._unknown(f"{checks.shown(text)} is not a word of the prompt.")

    def _unknown(self, why: str) -> InputError:
        words = ", ".join(dict.fromkeys(word.text for word in self.words)) or "(none)"
        return InputError(
            f"{why}\nIts words: {checks.shortened(words, 200)}.\n"
            "A (start, end) of the prompt's characters is taken, too.",
            parameter="word",
        )
