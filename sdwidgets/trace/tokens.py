"""A prompt as the network read it: its pieces, which of them make up a word, what was cut.

Plain data without torch: records keep it, and heat maps and widgets find words with it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import checks
from ..errors import InputError
from ..spelling import Span, spans_of, word

if TYPE_CHECKING:
    from ..models.conditioning import Tokens


class Word(NamedTuple):
    """A word of a prompt, as written there."""

    text: str
    tokens: tuple[int, ...]  # its pieces, as columns of the attention
    start: int  # in characters of the prompt
    end: int


@dataclass(frozen=True)
class PromptTokens:
    """The tokens of one prompt, as columns of recorded attention.

    Column 0 is the start. Column i + 1 is ``pieces[i]``, which is characters ``spans[i]`` of the
    prompt. The end follows. The last column is of all other tokens: the padding and, for a prompt
    in several chunks, the starts and ends of the others.
    """

    prompt: str
    pieces: tuple[str, ...]
    spans: tuple[Span, ...]
    cut: str = ""  # the end of the prompt that the network never saw
    slots: int = 77  # tokens in all
    places: tuple[int, ...] = ()
    """Which tokens the start, the pieces and the end are; () if they are simply the first."""
    weights: tuple[float, ...] = ()
    """The weight of each piece; () if all are 1."""
    learnt: tuple[str, ...] = ()
    """For each piece, the learnt word (textual inversion) whose vector it is, or ""; () if there
    is none."""
    padding: tuple[str, ...] = ()
    """The token with which each text encoder of the model fills up; () if there is only one."""

    @classmethod
    def of(cls, prompt: str, read: Tokens, row: int = 0) -> PromptTokens:
        """The tokens of prompt ``row`` of a batch, as the model read it.

        Where its words are not those of a prompt, the text is that which they are in.
        """
        several = bool(read.chunks) and read.chunks[row] > 1
        weights = read.weights[row] if read.weights else ()
        learnt = read.learnt[row] if read.learnt else ()
        padding = tuple(each.padding for each in (read, *read.others))
        return cls(
            read.texts[row] if read.texts else prompt,
            read.pieces[row],
            read.words[row],
            read.cut[row],
            read.periods[row] if read.periods else read.ids.shape[1],
            read.places[row] if several else (),
            weights if any(weight != 1 for weight in weights) else (),
            learnt if any(learnt) else (),
            padding if len(padding) > 1 and all(padding) else (),
        )

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of the prompt that the network saw, in order, each with its tokens."""
        words: list[Span] = []
        whole = {span for span, name in zip(self.spans, self.learnt, strict=False) if name}
        # the name of a box, or a prompt that is a single token, may have spaces
        whole |= {span for span in self.spans if len(self.prompt[slice(*span)].split()) > 1}
        begin = 0
        for first, last in [*sorted(whole), (len(self.prompt), len(self.prompt))]:
            words += [match.span() for match in word().finditer(self._seen, begin, first)]
            words += [(first, last)] if last > first else []
            begin = max(begin, last)
        found = ((self._within(*span), span) for span in words)
        return tuple(Word(self.prompt[a:b], tokens, a, b) for tokens, (a, b) in found if tokens)

    def spans_of(self, text: str) -> list[Span]:
        """Where a text is in the prompt as whole words, as spans of its characters.

        Brackets and weights do not count, and neither does what is spelt otherwise in Unicode.
        """
        if found := spans_of(text, self._seen):
            return found
        # weights may divide a word: "un(believ)able"
        pairs = zip(self.prompt, self._seen, strict=True)
        kept = [i for i, (one, seen) in enumerate(pairs) if seen != " " or one.isspace()]
        if len(kept) == len(self.prompt):
            return []
        squeezed = "".join(self._seen[i] for i in kept)
        return [(kept[a], kept[b - 1] + 1) for a, b in spans_of(text, squeezed)]

    @cached_property
    def _seen(self) -> str:
        """The prompt with spaces for what is in no piece: brackets, weights, and what was cut."""
        kept = [" "] * len(self.prompt)
        for start, end in self.spans:
            while end < len(kept) and unicodedata.category(self.prompt[end])[0] == "M":
                end += 1  # a mark stays with its letter
            kept[start:end] = self.prompt[start:end]
        return "".join(kept)

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
        found = (self._within(*span) for span in self.spans_of(text))
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
