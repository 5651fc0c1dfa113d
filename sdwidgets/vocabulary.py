"""The words that a model knows, and the words of a prompt that it does not.

A model that was trained on few captions, such as the bundled one, has never seen most words. It
draws something for them, too, and nobody could tell why. So such a model brings the words of its
captions, and a run says which words of a prompt are not among them.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from .checks import shortened

Vocabulary = Mapping[str, tuple[str, ...]]
"""Groups of words by their titles, such as "things" and "colors". The words are in lower case."""

MOST = 10_000
"""The most words of a vocabulary."""
NAMED = 8
"""The most words that a notice names."""

# As CLIP's tokenizer splits: contractions ("cat's") apart; then letters and digits, or symbols.
_CONTRACTION = r"['\u2019](?:s|t|re|ve|m|ll|d)(?!\w)"
# A word may have combining marks, which Python does not count to it.
_MARKS = r"\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_WORD = re.compile(rf"{_CONTRACTION}|\w[\w{_MARKS}]*|[^\s\w]+", re.IGNORECASE)


@dataclass(frozen=True)
class Unknown:
    """A word of a prompt that is not in a vocabulary."""

    word: str  # as the prompt spells it
    span: tuple[int, int]  # its characters in the prompt


def words_of(vocabulary: Vocabulary) -> tuple[str, ...]:
    """All words, each once, in the order of the groups."""
    return tuple(dict.fromkeys(word for group in vocabulary.values() for word in group))


def unknown_words(prompt: str, vocabulary: Vocabulary) -> tuple[Unknown, ...]:
    """The words of ``prompt`` that are not in ``vocabulary``, in their order.

    Upper and lower case are the same, as are composed and decomposed characters. Punctuation is
    not a word, but an emoji is.
    """
    known = set(map(_plain, words_of(vocabulary)))
    return tuple(
        Unknown(match[0], match.span())
        for match in _WORD.finditer(prompt)
        if match[0][0] not in "'\u2019" and _plain(match[0]) not in known and _is_word(match[0])
    )


def nearest_word(word: str, vocabulary: Vocabulary) -> str:
    """The word of ``vocabulary`` whose spelling is most similar; "" if none is similar."""
    return _nearest(_plain(word[:40]), words_of(vocabulary))


@lru_cache(maxsize=256)  # it takes milliseconds, and a prompt is looked at with every keystroke
def _nearest(word: str, words: tuple[str, ...]) -> str:
    known = {_plain(each): each for each in words}
    near = difflib.get_close_matches(word, known, 1, 0.7)
    return known[near[0]] if near else ""


def unknown_notice(prompts: Iterable[str], vocabulary: Vocabulary | None) -> tuple[str, ...]:
    """A notice that names the unknown words of the prompts, each once; () if there are none."""
    if vocabulary is None:
        return ()
    words: dict[str, str] = {}  # as they were spelt first
    for prompt in dict.fromkeys(prompts):
        for each in unknown_words(prompt, vocabulary):
            words.setdefault(_plain(each.word), each.word)
    if not words:
        return ()
    said = []
    for word in list(words.values())[:NAMED]:
        near = nearest_word(word, vocabulary)
        said.append(f'"{shortened(word, 40)}"' + (f' (nearest: "{near}")' if near else ""))
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return (f"The model was never taught: {', '.join(said)}{more}.",)


def _plain(word: str) -> str:
    return unicodedata.normalize("NFC", word).lower()


def _is_word(text: str) -> bool:
    """Whether it has a letter, a digit, or a symbol that is on no keyboard, such as an emoji."""
    kinds = ((c, unicodedata.category(c)[0]) for c in text)
    return any(kind in "LN" or (kind == "S" and c > "\x7f") for c, kind in kinds)
