"""Which words of a prompt stand for which words of another, and so whose attention theirs is.

The alignment that prompt-to-prompt needs (Hertz et al., arXiv 2208.01626, section 3.2). The longest
common subsequence of the words is the same in both prompts. What lies between two common words of
one prompt stands for what lies between them in the other, however many tokens either has. Numbers
and text, no torch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .tokens import PromptTokens

if TYPE_CHECKING:
    from ..models.conditioning import Tokens

Columns = tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """Tokens of two prompts that stand for each other, as in `PromptTokens`; () for none."""

    before: Columns
    after: Columns
    same: bool = True  # whether they are the same word


def pairs(before: PromptTokens, after: PromptTokens) -> list[Pair]:
    """Return the pairs of words of two prompts, in order.

    Each common word is a pair, and so is all that lies between two of them.
    """
    old, new = _units(before), _units(after)
    found: list[Pair] = []
    i = j = 0
    for at, to in [*_common([w for w, _ in old], [w for w, _ in new]), (len(old), len(new))]:
        if i < at or j < to:
            found.append(Pair(_tokens(old[i:at]), _tokens(new[j:to]), same=False))
        if at < len(old):
            found.append(Pair(old[at][1], new[to][1]))
        i, j = at + 1, to + 1
    return found


def _tokens(units: Sequence[tuple[str, Columns]]) -> Columns:
    return tuple(token for _, tokens in units for token in tokens)


def _units(prompt: PromptTokens) -> list[tuple[str, Columns]]:
    """Return the words, each as it is compared, with its tokens; a token in no word is its own."""
    word_of = {token: word for word in reversed(prompt.words) for token in word.tokens}
    units: list[tuple[str, Columns]] = []
    last = None
    for token, piece in enumerate(prompt.pieces, start=1):
        word = word_of.get(token)
        if word is not None and word is last:
            units[-1] = units[-1][0], (*units[-1][1], token)
        else:
            text = unicodedata.normalize("NFC", word.text if word else piece).casefold()
            units.append((text, (token,)))
        last = word
    return units


def _common(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places (in old, in new) of a longest common subsequence.

    Of several, one after which most other words can replace one another, the earliest of these: so
    that "a bird, the cat" becomes "a cat, the bird" word by word.
    """
    many = len(old) + len(new) + 1  # a common word counts more than all that are replaced
    score = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]  # of what is left from i and j on
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            both = score[i + 1][j + 1] + (many if old[i] == new[j] else 1)
            score[i][j] = max(both, score[i + 1][j], score[i][j + 1])
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        same = old[i] == new[j]
        if score[i][j] == score[i + 1][j + 1] + (many if same else 1):
            found += [(i, j)] if same else []
            i, j = i + 1, j + 1
        elif score[i][j] == score[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the attention to one context becomes that to another, both of T tokens.

    With the probabilities ``p`` of the first and ``q`` of the second, those that keep the layout of
    the first are ``p @ taken + q * own + (p @ dropped) * q``: common and replaced words attend as
    in the first prompt, added ones as they do, and what attended to a word that is gone attends as
    it would without it. Without added words, each row sums to 1.
    """

    taken: np.ndarray  # [T, T] float32
    own: np.ndarray  # [T] float32, 1 for tokens that the first context has not
    dropped: np.ndarray  # [T] float32, 1 for tokens that the second context has not

    @property
    def is_same(self) -> bool:
        """Whether each token stands for itself."""
        return bool(np.array_equal(self.taken, np.eye(len(self.own))))

    def beside(self, other: Alignment) -> Alignment:
        """Return the alignment of two contexts joined along their tokens, this one first."""
        first, second = len(self.own), len(other.own)
        taken = np.zeros((first + second, first + second), np.float32)
        taken[:first, :first], taken[first:, first:] = self.taken, other.taken
        joined = (np.append(self.own, other.own), np.append(self.dropped, other.dropped))
        return Alignment(taken, *joined)


def alignment(read: Tokens, found: Sequence[Pair], rows: tuple[int, int] = (0, 1)) -> Alignment:
    """Return how the attention of one row of a batch becomes that of another.

    ``found``: the `pairs` of the two prompts. Start and end stand for start and end, and all other
    tokens, the padding, for all others. A context that is repeated counts once.
    """
    places = [places_of(read, row) for row in rows]
    periods = [period_of(read, row) for row in rows]
    others = [sorted(set(range(n)) - set(at)) for n, at in zip(periods, places, strict=True)]
    ends = [(at[0], at[-1]) for at in places]
    groups = [([a], [b]) for a, b in zip(*ends, strict=True)] + [(others[0], others[1])]
    groups += [([places[0][t] for t in pair.before], [places[1][t] for t in pair.after])
               for pair in found]  # fmt: skip
    taken = np.zeros(periods, np.float32)
    own, dropped = (np.zeros(n, np.float32) for n in periods[::-1])
    for before, after in groups:
        if before and after:
            taken[np.ix_(before, after)] = _spread(len(before), len(after))
        else:
            own[after], dropped[before] = 1, 1
    total = read.ids.shape[1]
    copies = [total // n for n in periods]
    return Alignment(
        np.tile(taken, copies) / np.float32(copies[1]),
        np.tile(own, copies[1]),
        np.tile(dropped, copies[0]),
    )


def _spread(m: int, n: int) -> np.ndarray:
    """[m, n]: the attention to m tokens spread over n, in order; each row sums to 1."""
    edges = np.arange(n + 1) * (m / n)
    cells = np.arange(m)
    low, high = np.maximum.outer(cells, edges[:-1]), np.minimum.outer(cells + 1, edges[1:])
    return np.maximum(high - low, 0).astype(np.float32)


def places_of(read: Tokens, row: int) -> Columns:
    """Return which tokens of its context are the start, the pieces and the end of a prompt."""
    if read.places:
        return read.places[row]
    return tuple(range(min(len(read.pieces[row]) + 2, read.ids.shape[1])))


def period_of(read: Tokens, row: int) -> int:
    """Return after how many tokens a prompt's context begins again."""
    return read.periods[row] if read.periods else read.ids.shape[1]


def columns_of(read: Tokens, row: int, tokens: Sequence[int]) -> Columns:
    """Return the columns of the context that are these tokens of a prompt, in each repetition."""
    places = places_of(read, row)
    begins = range(0, read.ids.shape[1], period_of(read, row))
    return tuple(begin + places[token] for begin in begins for token in tokens)
