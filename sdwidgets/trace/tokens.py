"""A prompt as the network read it: its pieces, which of them are a word, what was cut.

Plain data, no torch: recordings keep it, and heat maps and widgets find words with it.
"""

from __future__ import annotations

import numbers
import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ..errors import InputError

Span = tuple[int, int]

# What a person would call a word; of "don't", one; of "cat, dog" also the comma.
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]+")

SPECIAL = ("<start>", "<end>", "<padding>")
"""Names for the tokens that stand for no word."""


class Word(NamedTuple):
    """A word of a prompt, as it is written there."""

    text: str
    tokens: tuple[int, ...]  # the columns of attention that are its pieces
    start: int  # of its characters in the prompt
    end: int


@dataclass(frozen=True)
class PromptTokens:
    """One prompt's tokens.

    Token 0 is the start, token i + 1 is ``pieces[i]``, whose characters in the prompt are
    ``spans[i]``; then comes the end. What is behind it, up to ``slots`` tokens in all, is padding:
    recorded attention has one column for all of it.
    """

    prompt: str
    pieces: tuple[str, ...]
    spans: tuple[Span, ...]
    cut: str = ""  # the end of the prompt that the network never saw
    slots: int = 77

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The prompt's words in order, as far as the network saw them, each with its tokens."""
        words = []
        for match in _WORD.finditer(self.prompt):
            tokens = self._within(*match.span())
            if tokens:
                words.append(Word(match[0], tokens, *match.span()))
        return tuple(words)

    def _within(self, start: int, end: int) -> tuple[int, ...]:
        """The tokens that have characters of that span."""
        spans = enumerate(self.spans, start=1)
        return tuple(i for i, (first, last) in spans if first < end and last > start)

    def find(self, word: str | int | Span, *, occurrence: int | None = None) -> tuple[int, ...]:
        """The tokens of a word: of all its occurrences, or of one (0, 1, ..., or -1 the last).

        ``word``: a text, which may be several words; a number, of `words`; or a (start, end) of
        characters. Also "<start>", "<end>" and "<padding>". Raises InputError, naming the
        prompt's words, when there is none.
        """
        found = self._occurrences(word)
        if occurrence is None:
            return tuple(dict.fromkeys(token for tokens in found for token in tokens))
        if not _is_whole(occurrence) or not -len(found) <= occurrence < len(found):
            raise InputError(
                f"occurrence must be a whole number from 0 to {len(found) - 1}, "
                f"got {reprlib.repr(occurrence)}.",
                parameter="occurrence",
            )
        return found[occurrence]

    def _occurrences(self, word: Any) -> list[tuple[int, ...]]:
        if isinstance(word, str):
            return self._of_text(word)
        if _is_whole(word):
            if not -len(self.words) <= word < len(self.words):
                raise self._unknown(f"There is no word {word}: there are {len(self.words)}.")
            return [self.words[word].tokens]
        if isinstance(word, (tuple, list)) and len(word) == 2 and all(map(_is_whole, word)):
            tokens = self._within(*word)
            if not tokens:
                raise self._unknown(f"No token has characters {word[0]} to {word[1]}.")
            return [tokens]
        raise InputError(
            f"word must be a text, a number or a (start, end), got {reprlib.repr(word)}.\n"
            "Give a word of the prompt.",
            parameter="word",
        )

    def _of_text(self, text: str) -> list[tuple[int, ...]]:
        """The tokens of each occurrence of a text, as whole words, upper or lower case."""
        end = len(self.pieces) + 1  # the padding of all, also of shorter prompts, is the last
        special = {"<start>": (0,), "<end>": (end,), "<padding>": (-1,)}
        if text in special:
            return [special[text]]
        pattern = r"\s+".join(map(re.escape, text.split()))
        whole = re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE)
        found: Iterable[tuple[int, ...]] = ()
        if pattern:
            found = (self._within(*match.span()) for match in whole.finditer(self.prompt))
        tokens = [some for some in found if some]
        if tokens:
            return tokens
        if pattern and self.cut and whole.search(self.cut):
            raise self._unknown(f"{text!r} was cut from the prompt, which was too long.")
        raise self._unknown(f"{text!r} is not a word of the prompt.")

    def _unknown(self, why: str) -> InputError:
        words = ", ".join(dict.fromkeys(word.text for word in self.words)) or "(none)"
        return InputError(f"{why}\nIts words: {_shortened(words)}.", parameter="word")


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _shortened(text: str, most: int = 300) -> str:
    """The beginning of a text that may be very long."""
    return text if len(text) <= most else text[: most - 3] + "..."
