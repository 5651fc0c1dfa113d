"""What a denoising network may be told in place of a text: a class, or nothing.

Source: the class-conditional and the unconditional models of "High-Resolution Image Synthesis with
Latent Diffusion Models" (Rombach et al., arXiv 2112.10752, section 3.3 and appendix E).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ..errors import InputError
from .text import Tokens


class Conditioner(Protocol):
    """Prompts to what the network attends to; `TextEncoder` is one, and so are those below.

    ``model`` holds the weights, ``width`` is that of what it says (0: nothing), and ``capacity``
    how many tokens of a prompt it reads.
    """

    model: nn.Module

    @property
    def width(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def tokenize(self, prompts: Sequence[str]) -> Tokens: ...
    def context(self, ids: Tensor) -> Tensor | None:
        """[B, T, D] of ``ids`` [B, T], with gradients; None where the network is told nothing."""
        ...

    def states(self, ids: Tensor) -> Tensor | None:
        """The same without gradients, in float32."""
        ...

    def encode(self, prompts: Sequence[str]) -> Tensor | None:
        """The states of the prompts' tokens."""
        ...


class ClassEmbedder(nn.Module):
    """Numbers of classes [B, 1] -> one token each [B, 1, width], for cross-attention.

    Number ``classes`` is the null class, which says nothing: what dropped labels become in
    training, and what guidance leads away from (arXiv 2207.12598).
    """

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, width)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.embedding(numbers)


class ClassLabels:
    """Prompts that name a class: "cat" -> its token [B, 1, width]; "" is no class.

    One token leaves nothing to look at: its share of the attention is one everywhere.
    """

    capacity = 0  # a class is no text

    def __init__(self, names: Sequence[str], width: int):
        self.names = tuple(names)
        self.width = width
        self.model: nn.Module = ClassEmbedder(len(self.names), width)

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """The classes' numbers as ids [B, 1]. InputError for a prompt that names none."""
        ids = torch.tensor([[self._number(prompt)] for prompt in prompts])
        none: tuple = ((),) * len(prompts)
        return Tokens(ids, none, ("",) * len(prompts), none)

    def _number(self, prompt: str) -> int:
        name = " ".join(prompt.split())
        if not name:
            return len(self.names)
        known = {one.casefold(): number for number, one in enumerate(self.names)}
        if name.casefold() in known:
            return known[name.casefold()]
        near = difflib.get_close_matches(name.casefold(), known, 1, 0.4)
        hint = f" Did you mean {self.names[known[near[0]]]!r}?" if near else ""
        few = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
        raise InputError(
            f"This model knows classes, no sentences; {name[:60]!r} is none of them.{hint}\n"
            f"Known: {few}.",
            parameter="prompt",
        )

    def context(self, ids: Tensor) -> Tensor:
        return self.model(ids.to(next(self.model.parameters()).device))

    @torch.no_grad()
    def states(self, ids: Tensor) -> Tensor:
        return self.context(ids).float()

    def encode(self, prompts: Sequence[str]) -> Tensor:
        return self.states(self.tokenize(prompts).ids)


class NoPrompt:
    """Of an unconditional model: the network is told nothing, and there is nothing to ask for."""

    width = 0
    capacity = 0

    def __init__(self) -> None:
        self.model: nn.Module = nn.Identity()

    def tokenize(self, prompts: Sequence[str]) -> Tokens:
        """No tokens: ids [B, 0]. InputError for a prompt that is not empty."""
        if any(prompt.strip() for prompt in prompts):
            raise InputError(
                "This model takes no prompt: it was trained on pictures without words.\n"
                "Leave the prompt empty.",
                parameter="prompt",
            )
        none: tuple = ((),) * len(prompts)
        ids = torch.zeros(len(prompts), 0, dtype=torch.int64)
        return Tokens(ids, none, ("",) * len(prompts), none)

    def context(self, ids: Tensor) -> None:
        return None

    states = context

    def encode(self, prompts: Sequence[str]) -> None:
        self.tokenize(prompts)
