"""Prompts to text states: CLIP's tokenizer and its text transformer, as an embedder.

Source: "Learning Transferable Visual Models From Natural Language Supervision" (Radford et al.,
arXiv 2103.00020, section 2.4).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import torch
from tokenizers import Encoding
from torch import Tensor, nn

from ..configs import TextConfig
from ..errors import CheckpointError, InputError
from .clip import TextStates
from .conditioning import Conditioning, Given, Span, Tokens
from .tokenizer import Tokenizer

# Unicode's separators of files, groups, records and units are not spaces for the tokenizer.
_SPACE = re.compile(r"(?![\x1c-\x1f])\s")


class TextEncoder:
    """A tokenizer and a CLIP text transformer: prompts -> text states [B, length, width]."""

    inputs = frozenset({"prompt"})

    def __init__(self, config: TextConfig, model: nn.Module, tokenizer: Tokenizer):
        if len(tokenizer) > config.vocab_size:
            raise CheckpointError(
                f"The tokenizer has {len(tokenizer.vocab):,} tokens with ids up to"
                f" {len(tokenizer) - 1:,}, the text encoder has ids up to"
                f" {config.vocab_size - 1:,}.\nThey belong to two different models."
            )
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        # A run asks several times. A cached method would keep the encoder alive.
        self._tokenize = lru_cache(maxsize=64)(partial(_tokenized, config, tokenizer))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.config, self.model, self.tokenizer)  # a cache cannot be sent

    @property
    def capacity(self) -> int:
        """The number of a prompt's tokens that are seen, without start and end."""
        return self.config.length - 2

    def tokens(self, given: Sequence[Given]) -> Tokens:
        """Return the prompts' tokens; see `tokenize`."""
        return self.tokenize([each.prompt or "" for each in given])

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the states as a context [B, length, width] and, if the config has a projection,
        the pooled states as a vector [B, projection_dim]. If the config says so, both are zeros for
        an image without a prompt."""
        read = self.read(self.tokens(given).ids)
        states, pooled = read.states, read.pooled
        if self.config.zeros:
            said = torch.tensor([each.prompt is not None for each in given], device=states.device)
            states = torch.where(said[:, None, None], states, 0)
            pooled = torch.where(said[:, None], pooled, 0)
        return Conditioning(states, pooled if self.config.projection_dim else None)

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """Return the tokens of ``prompts``; nothing is cut in silence, see ``Tokens.cut``.

        Lone surrogates (half a UTF-16 character) become U+FFFD. InputError for a lone string in
        place of a list, or a prompt that is no string.
        """
        if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError("Prompts are a list of strings, like ['a cat'].", parameter="prompt")
        distinct = {prompt: self._tokenize(prompt) for prompt in dict.fromkeys(prompts)}
        ids, pieces, cuts, words = zip(*(distinct[prompt] for prompt in prompts), strict=True)
        controls = {token: None for each in distinct for token in self.tokenizer.controls(each)}
        return Tokens(torch.tensor(ids, device="cpu"), pieces, cuts, words, tuple(controls))

    def read(self, ids: Tensor) -> TextStates:
        """Return the states [B, length, width] and the pooled states of ``ids`` [B, length]."""
        states: TextStates = self.model(ids.to(next(self.model.parameters()).device))
        return states

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the text states [B, length, width] float32."""
        return self.read(self.tokenize(prompts).ids).states.float()


def _tokenized(
    config: TextConfig, tokenizer: Tokenizer, prompt: str
) -> tuple[list[int], tuple[str, ...], str, tuple[Span, ...]]:
    """Return a prompt's entry for each field of `Tokens`."""
    room = config.length - 2  # all but start and end
    prompt = re.sub("[\ud800-\udfff]", "\ufffd", prompt)  # same length: spans stay right
    encoding = _encode_start(tokenizer, prompt, room)
    n = min(len(encoding.ids), room)
    filling = [config.pad] * (room - n)
    ids = [config.bos, *encoding.ids[:n], config.eos, *filling]
    cut = prompt[encoding.offsets[n][0] :] if len(encoding.ids) > n else ""
    cut = cut.strip() or cut  # characters that are spaces to Python alone count as a word
    return ids, _readable(encoding.tokens[:n]), cut, tuple(encoding.offsets[:n])


def _encode_start(tokenizer: Tokenizer, prompt: str, room: int) -> Encoding:
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


def _readable(tokens: Iterable[str]) -> tuple[str, ...]:
    """Return byte-level tokens as text, with each character at the token of its last byte."""
    table = _bytes_of_characters()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def readable(token: str) -> str:
        try:
            return decoder.decode(bytes(table[c] for c in token.removesuffix("</w>")))
        except KeyError:  # a token added to the vocabulary stands for its own characters
            return token

    return tuple(map(readable, tokens))


@cache
def _bytes_of_characters() -> dict[str, int]:
    """Return the byte for which each character of a byte-level vocabulary stands.

    Printable Latin-1 characters stand for themselves, the other bytes for U+0100 onwards in order
    ("Language Models are Unsupervised Multitask Learners", Radford et al. 2019, section 2.2).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}
