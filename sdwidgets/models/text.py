"""Prompts to text states: a tokenizer and a text transformer, as an embedder.

They are CLIP's ("Learning Transferable Visual Models From Natural Language Supervision", Radford et
al., arXiv 2103.00020, section 2.4), or BERT's tokenizer and latent diffusion's own transformer
("High-Resolution Image Synthesis with Latent Diffusion Models", Rombach et al., arXiv 2112.10752,
section 4.3.1). Weights and chunks are AUTOMATIC1111's (stable-diffusion-webui,
modules/sd_hijack_clip.py and sd_emphasis.py); `prompts` has their notation.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from tokenizers import Encoding
from torch import Tensor, nn

from ..configs import BertConfig, TextConfig
from ..errors import CheckpointError, InputError
from ..prompts import PLAIN, Fragment, Reading, fragments
from ..spelling import spans_of
from .clip import TextStates
from .conditioning import Conditioning, Given, Span, Tokens
from .tokenizer import Tokenizer
from .word_vectors import learning
from .wordpiece import WordPiece

C = TypeVar("C", TextConfig, BertConfig)
K = TypeVar("K", Tokenizer, WordPiece)
P = TypeVar("P", bound="PromptEncoder")  # type: ignore[type-arg]

COMMA_REACH = 20
"""A chunk ends after its last comma if at most this many tokens follow it."""

MOST_REPEATED = 90
"""The most chunks of a context that is repeated to the length of others."""

LEAST_MEAN = 1e-5
"""A mean of states below this share of their size is rounding."""

# Unicode's separators of files, groups, records and units are not spaces for the tokenizer.
_SPACE = re.compile(r"(?![\x1c-\x1f])\s")


class _Token(NamedTuple):
    """A token of a prompt: its id, its readable form, where it is in the prompt, its weight."""

    id: int
    piece: str
    span: Span
    weight: float = 1.0
    learnt: str = ""  # the learnt word whose vector it is


@dataclass(frozen=True)
class _Text:
    """A prompt as its encoder reads it; ``weights`` and ``ids`` have a row of tokens per chunk."""

    ids: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    tokens: tuple[_Token, ...]
    places: tuple[int, ...]  # of the start, the tokens and the end
    cut: str
    controls: tuple[str, ...]
    unknown: tuple[str, ...]  # words that the vocabulary does not have

    @property
    def is_weighted(self) -> bool:
        return any(weight != 1 for row in self.weights for weight in row)


class PromptEncoder(Generic[C, K]):
    """A tokenizer and a text transformer: prompts -> text states [B, T, width].

    T is a multiple of the config's length: a long prompt is read in chunks, each with its own start
    and end. `prompts.Reading` says how a prompt is read.
    """

    inputs = frozenset({"prompt"})

    def __init__(
        self,
        config: C,
        model: nn.Module,
        tokenizer: K,
        learnt: Mapping[str, int] | None = None,
    ):
        """``learnt``: how many vectors each learnt word has, in the order of those in ``model``."""
        if len(tokenizer) > config.vocab_size:
            raise CheckpointError(
                f"The tokenizer has {len(tokenizer.vocab):,} tokens with ids up to"
                f" {len(tokenizer) - 1:,}, the text encoder has ids up to"
                f" {config.vocab_size - 1:,}.\nThey belong to two different models."
            )
        self.config: C = config
        self.model = model
        self.tokenizer: K = tokenizer
        # A run asks several times. A cached method would keep the encoder alive.
        self.learnt = dict(learnt or {})
        vocabulary = _Vocabulary(tokenizer, config.vocab_size, self.learnt)
        self._read = lru_cache(maxsize=64)(partial(_read, config, vocabulary))

    def __reduce__(self) -> tuple[Any, ...]:
        # a cache cannot be sent
        return type(self), (self.config, self.model, self.tokenizer, self.learnt)

    def learning(self: P, words: Mapping[str, Tensor]) -> P:
        """Return an encoder that reads further ``words``, each as its vectors [n, width] (textual
        inversion, arXiv 2208.01618); it shares all weights with this one."""
        if taken := [word for word in words if word.casefold() in map(str.casefold, self.learnt)]:
            raise InputError(
                f"The model has a learnt word {taken[0]!r} already.", parameter="embeddings"
            )
        model = learning(self.model, torch.cat([*words.values()]))
        counts = {word: len(vectors) for word, vectors in words.items()}
        return type(self)(self.config, model, self.tokenizer, {**self.learnt, **counts})

    @property
    def capacity(self) -> int:
        """The number of a prompt's tokens in a chunk, without start and end."""
        return self.config.length - 2

    def tokens(self, given: Sequence[Given]) -> Tokens:
        """Return the prompts' tokens; see `tokenize`."""
        return self._tokens([self._text(each.prompt or "", each.reading) for each in given])

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the states as a context [B, T, width] and, if the config has a projection, the
        pooled states of the first chunks as a vector [B, projection_dim]. If the config says so,
        both are zeros for an image without a prompt."""
        texts = [self._text(each.prompt or "", each.reading) for each in given]
        count = _length([len(text.ids) for text in texts])
        rows: dict[tuple[int, tuple[int, ...]], int] = {}  # each chunk once
        index = [
            [rows.setdefault((each.reading.clip_skip, chunk), len(rows)) for chunk in chunks]
            for each, chunks in zip(given, self._chunks(texts, count), strict=True)
        ]
        read = self._read_all(list(rows))
        at = torch.tensor(index, device=read.states.device)
        states = read.states[at]  # [B, chunks, length, width]
        if any(text.is_weighted for text in texts):
            means = [each.reading.weights == "mean" for each in given]
            states = _weighted(states, _weights(texts, count), means)
        states, pooled = states.flatten(1, 2), read.pooled[at[:, 0]]
        if self.config.zeros:
            said = torch.tensor([each.prompt is not None for each in given], device=states.device)
            states = torch.where(said[:, None, None], states, 0)
            pooled = torch.where(said[:, None], pooled, 0)
        return Conditioning(
            states if self.config.states else None,
            pooled if self.config.projection_dim else None,
        )

    def tokenize(self, prompts: Sequence[str], reading: Reading = PLAIN) -> Tokens:
        """Return the tokens of ``prompts``; nothing is cut in silence, see ``Tokens.cut``.

        Lone surrogates (half a UTF-16 character) become U+FFFD. InputError for a lone string in
        place of a list, a prompt that is no string, and weights and brackets beyond the limits.
        """
        if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError("Prompts are a list of strings, like ['a cat'].", parameter="prompt")
        return self._tokens([self._text(prompt, reading) for prompt in prompts])

    def read(self, ids: Tensor, *, skip: int = 0) -> TextStates:
        """Return the states [B, length, width] and the pooled states of ``ids`` [B, length].

        ``skip``: how many more of the last layers the states leave out.
        """
        ids = ids.to(next(self.model.parameters()).device)
        states: TextStates = self.model(ids, skip) if skip else self.model(ids)
        return states

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the text states [B, length, width] float32 of plain prompts, a chunk of each."""
        return self.read(self.tokenize(prompts).ids).states.float()

    def _text(self, prompt: str, reading: Reading) -> _Text:
        return self._read(prompt, reading.weights != "none", reading.chunks)

    def _tokens(self, texts: Sequence[_Text]) -> Tokens:
        count = _length([len(text.ids) for text in texts])
        length = self.config.length
        ids = [[id for chunk in chunks for id in chunk] for chunks in self._chunks(texts, count)]
        return Tokens(
            torch.tensor(ids, device="cpu"),
            pieces=tuple(tuple(token.piece for token in text.tokens) for text in texts),
            cut=tuple(text.cut for text in texts),
            words=tuple(tuple(token.span for token in text.tokens) for text in texts),
            controls=tuple(dict.fromkeys(each for text in texts for each in text.controls)),
            unknown=tuple(dict.fromkeys(each for text in texts for each in text.unknown)),
            places=tuple(text.places for text in texts),
            periods=tuple(
                length * (count if count % len(text.ids) else len(text.ids)) for text in texts
            ),
            chunks=tuple(len(text.ids) for text in texts),
            weights=tuple(tuple(token.weight for token in text.tokens) for text in texts),
            learnt=tuple(tuple(token.learnt for token in text.tokens) for text in texts),
            padded=any(count % len(text.ids) for text in texts),
            padding=self.tokenizer.content(self.config.pad),
        )

    def _chunks(self, texts: Sequence[_Text], count: int) -> list[tuple[tuple[int, ...], ...]]:
        """Return ``count`` chunks of each text: its own, repeated, or empty ones after them."""
        empty = _row(self.config, ())
        return [
            text.ids * (count // len(text.ids))
            if count % len(text.ids) == 0
            else text.ids + (empty,) * (count - len(text.ids))
            for text in texts
        ]

    def _read_all(self, rows: Sequence[tuple[int, tuple[int, ...]]]) -> TextStates:
        """Return the states of (skip, ids) of each row."""
        skips = sorted({skip for skip, _ in rows})
        if len(skips) == 1:
            return self.read(torch.tensor([ids for _, ids in rows], device="cpu"), skip=skips[0])
        states: list[Any] = [None] * len(rows)
        for skip in skips:
            some = [number for number, row in enumerate(rows) if row[0] == skip]
            read = self._read_all([rows[number] for number in some])
            for number, one, pooled in zip(some, read.states, read.pooled, strict=True):
                states[number] = one, pooled
        return TextStates(*map(torch.stack, zip(*states, strict=True)))


class TextEncoder(PromptEncoder[TextConfig, Tokenizer]):
    """CLIP's tokenizer and text transformer."""


class BertEncoder(PromptEncoder[BertConfig, WordPiece]):
    """BERT's tokenizer and latent diffusion's own transformer."""


def _length(counts: Sequence[int]) -> int:
    """Return the number of chunks of a batch's context.

    Attention to a context that is repeated is the attention to it once. So contexts of different
    lengths are repeated up to their least common multiple. If that is beyond `MOST_REPEATED`, they
    are as long as the longest, and empty chunks follow those that do not fit into it.
    """
    multiple = math.lcm(*counts)
    return multiple if multiple <= MOST_REPEATED else max(counts)


def _weights(texts: Sequence[_Text], count: int) -> Tensor:
    """Return the weights [B, chunks, length] of a batch's context."""
    length = len(texts[0].ids[0])
    weights = torch.ones(len(texts), count, length, device="cpu")
    for row, text in zip(weights, texts, strict=True):
        own = torch.tensor(text.weights, device="cpu")
        if count % len(own) == 0:
            row.copy_(own.repeat(count // len(own), 1))
        else:
            row[: len(own)] = own
    return weights


def _weighted(states: Tensor, weights: Tensor, means: Sequence[bool]) -> Tensor:
    """Return the states [B, chunks, length, width] times their weights, float32.

    Where ``means`` is true, the mean of each chunk's states is what it was without weights.
    """
    states = states.float()
    weighted = states * weights.to(states.device)[..., None]
    was, now = (each.mean((2, 3), keepdim=True) for each in (states, weighted))
    # A norm without a learnt bias leaves no mean but rounding, and there is nothing to restore.
    least = LEAST_MEAN * states.square().mean((2, 3), keepdim=True).sqrt()
    restored = torch.tensor(means, device=states.device)[:, None, None, None]
    restored = restored & (was.abs() > least) & (now.abs() > least)
    return weighted * torch.where(restored, was / now, 1.0)


def _row(config: TextConfig | BertConfig, ids: Sequence[int]) -> tuple[int, ...]:
    """Return a chunk: start, ``ids``, end and padding."""
    filling = (config.pad,) * (config.length - 2 - len(ids))
    return (config.bos, *ids, config.eos, *filling)


@dataclass(frozen=True)
class _Vocabulary:
    """The tokens of a text encoder: its tokenizer's, and the vectors of learnt words after them."""

    tokenizer: Tokenizer | WordPiece
    size: int
    learnt: Mapping[str, int]

    def ids(self, word: str) -> range:
        """Return the ids of a learnt word."""
        words = list(self.learnt)
        first = self.size + sum(self.learnt[each] for each in words[: words.index(word)])
        return range(first, first + self.learnt[word])

    def places(self, text: str) -> list[tuple[int, int, str]]:
        """Return (start, end, word) of the learnt words in ``text``; of two, the longer counts."""
        plain = _plain(text) if self.learnt else ""
        found = [
            (*span, word)
            for word in self.learnt
            if _plain(word) in plain
            for span in spans_of(word, text)
        ]
        chosen: list[tuple[int, int, str]] = []
        for start, end, word in sorted(found, key=lambda each: (each[0], -each[1])):
            if not chosen or start >= chosen[-1][1]:
                chosen.append((start, end, word))
        return chosen


def _plain(text: str) -> str:
    """Return a text as `spans_of` compares it, to tell quickly that a word is not there."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
    return " ".join(folded.replace("\ufe0e", "").replace("\ufe0f", "").split())


def _read(
    config: TextConfig | BertConfig, vocabulary: _Vocabulary, prompt: str, marked: bool, chunks: int
) -> _Text:
    """Return a prompt as it is read; ``marked``: whether brackets and BREAK mean something."""
    prompt = re.sub("[\ud800-\udfff]", "\ufffd", prompt)  # same length: spans stay right
    tokenizer = vocabulary.tokenizer
    filled = _Chunks(config.length - 2, chunks, tokenizer.comma)
    cut = ""
    for unit in _units(vocabulary, prompt, marked, filled):
        if not unit:
            filled.close()
        elif not filled.add(unit):
            cut = prompt[unit[0].span[0] :]
            break
    rows = filled.rows()
    padding = (1.0,) * config.length
    weights = [(1.0, *(token.weight for token in row)) for row in rows]
    first = [number * config.length + 1 for number in range(len(rows))]
    places = [at + i for at, row in zip(first, rows, strict=True) for i in range(len(row))]
    return _Text(
        ids=tuple(_row(config, [token.id for token in row]) for row in rows),
        weights=tuple(row + padding[len(row) :] for row in weights),
        tokens=tuple(token for row in rows for token in row),
        places=(0, *places, first[-1] + len(rows[-1])),
        cut=cut.strip() or cut,  # characters that are spaces to Python alone count as a word
        controls=tokenizer.controls(prompt),
        unknown=tuple(
            prompt[slice(*token.span)]
            for row in rows
            for token in row
            if token.id == tokenizer.unknown
        ),
    )


class _Chunks:
    """Tokens in chunks of ``room``, in AUTOMATIC1111's way.

    A chunk that is full ends after its last comma, if that is near, and what followed the comma
    begins the next one. The last of the ``most`` chunks is filled to its end.
    """

    def __init__(self, room: int, most: int, comma: int | None):
        self._room, self._most, self._comma = room, most, comma
        self._done: list[list[_Token]] = []
        self._open: list[_Token] = []
        self._last_comma = -1

    @property
    def left(self) -> int:
        """How many tokens still fit."""
        return (self._most - len(self._done)) * self._room - len(self._open)

    def rows(self) -> list[list[_Token]]:
        """Return the tokens of each chunk; there is at least one."""
        return self._done + ([self._open] if self._open or not self._done else [])

    def close(self) -> None:
        """End the chunk, even an empty one."""
        if len(self._done) < self._most:
            self._done.append(self._open)
            self._open, self._last_comma = [], -1

    def add(self, unit: Sequence[_Token]) -> bool:
        """Add tokens that stay together, if they fit; return whether any were added."""
        if len(self._done) == self._most:
            return False
        room, is_last = self._room, len(self._done) == self._most - 1
        full = len(self._open) == room
        if is_last and (full or len(self._open) + len(unit) > room >= len(unit)):
            return False
        if unit[0].id == self._comma:
            self._last_comma = len(self._open)
        elif full and self._last_comma >= 0 and room - self._last_comma <= COMMA_REACH:
            moved = self._open[self._last_comma + 1 :]
            self._open = self._open[: self._last_comma + 1]
            self.close()
            self._open = moved
        if self._open and len(self._open) + len(unit) > room:
            self.close()
        while len(unit) > room:  # more vectors than a chunk has places
            self._open, unit = list(unit[:room]), unit[room:]
            if len(self._done) == self._most - 1:
                return True
            self.close()
        self._open += unit
        return True


def _units(
    vocabulary: _Vocabulary, prompt: str, marked: bool, filled: _Chunks
) -> Iterator[tuple[_Token, ...]]:
    """Yield the tokens of a prompt that stay together, in order, and () for each BREAK."""
    for number, part in enumerate(fragments(prompt) if marked else ((Fragment(prompt),),)):
        if number:
            yield ()
        for fragment in part:
            begin, text = 0, fragment.text
            for start, end, word in vocabulary.places(text):
                yield from _ordinary(vocabulary.tokenizer, fragment, begin, start, filled)
                span, weight = fragment.span(start, end), fragment.weight
                spelt = text[start:end].lower()  # at the first vector; the others show nothing
                yield tuple(
                    _Token(id, "" if i else spelt, span, weight, word)
                    for i, id in enumerate(vocabulary.ids(word))
                )
                begin = end
            yield from _ordinary(vocabulary.tokenizer, fragment, begin, len(text), filled)


def _ordinary(
    tokenizer: Tokenizer | WordPiece, fragment: Fragment, begin: int, end: int, filled: _Chunks
) -> Iterator[tuple[_Token, ...]]:
    """Yield the tokens of a part of a fragment without learnt words."""
    text = fragment.text[begin:end] if begin or end < len(fragment.text) else fragment.text
    if not text:
        return
    encoding = _encode_start(tokenizer, text, max(filled.left, 1))
    pieces = tokenizer.readable(encoding.tokens)
    for id, piece, (first, last) in zip(encoding.ids, pieces, encoding.offsets, strict=True):
        yield (_Token(id, piece, fragment.span(begin + first, begin + last), fragment.weight),)


def _encode_start(tokenizer: Tokenizer | WordPiece, prompt: str, room: int) -> Encoding:
    """Return the encoding of a start of ``prompt`` with more than ``room`` tokens, or of all of it.

    Only the beginning of a long prompt is tokenised. It ends at a space, which no token crosses, or
    else so far beyond the tokens in question that the end cannot change them.
    """
    end = 16 * room
    while end < len(prompt):
        space = _SPACE.search(prompt, end, end + 16 * room)
        start = prompt[: space.start() if space else end]
        encoding = tokenizer.encode(start)
        if len(encoding.ids) > (room if space else 2 * room):
            return encoding
        end *= 8
    return tokenizer.encode(prompt)
