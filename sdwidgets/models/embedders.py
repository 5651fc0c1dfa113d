"""What a denoising network may be told beside or in place of a text: a class, sizes.

Text encoders are embedders, too, and have a module of their own, `text`. An unconditional model has
no embedder at all.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from ..configs import ClassConfig, EmbedderConfig, SizesConfig, TextConfig
from ..errors import InputError
from .conditioning import Conditioning, Embedder, Given, Tokens
from .layers import timestep_embedding


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

    The class-conditional models of arXiv 2112.10752 (appendix E). One token leaves nothing to look
    at: its share of the attention is one everywhere.
    """

    inputs = frozenset({"prompt"})

    def __init__(self, config: ClassConfig):
        self.config = config
        self.model: nn.Module = ClassEmbedder(len(config.names), config.width)

    def tokens(self, given: Sequence[Given]) -> Tokens:
        """The classes' numbers as ids [B, 1]. InputError for a prompt that names none."""
        return Tokens.without_words(self._numbers(given))

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """The classes' tokens, a context [B, 1, width]."""
        weight = next(self.model.parameters())
        return Conditioning(context=self.model(self._numbers(given).to(weight.device)))

    def _numbers(self, given: Sequence[Given]) -> Tensor:
        return torch.tensor([[self._number(each.prompt or "")] for each in given])

    def _number(self, prompt: str) -> int:
        names, name = self.config.names, " ".join(prompt.split())
        if not name:
            return len(names)
        known = {one.casefold(): number for number, one in enumerate(names)}
        if name.casefold() in known:
            return known[name.casefold()]
        near = difflib.get_close_matches(name.casefold(), known, 1, 0.4)
        hint = f" Did you mean {names[known[near[0]]]!r}?" if near else ""
        few = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise InputError(
            f"This model knows classes, no sentences; {name[:60]!r} is none of them.{hint}\n"
            f"Known: {few}.",
            parameter="prompt",
        )


class Sizes:
    """The sizes that Stable Diffusion XL is told, as Fourier features in the vector.

    An image's original size, the corner it was cropped from and the size it was scaled to ("SDXL",
    Podell et al., arXiv 2307.01952, section 2.2, where they are heights and tops first).
    """

    inputs = frozenset({"original_size", "crop", "target_size"})

    def __init__(self, config: SizesConfig):
        self.config = config
        self.model: nn.Module = nn.Identity()  # it has no weights

    def tokens(self, given: Sequence[Given]) -> None:
        return None

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """A vector [B, 6 width]."""
        pairs = [
            (each.original_size or each.size, each.crop or (0, 0), each.target_size or each.size)
            for each in given
        ]
        numbers = torch.tensor(pairs, dtype=torch.float32).flip(-1)  # [B, 3, 2], heights first
        features = timestep_embedding(numbers.flatten(), self.config.width)
        return Conditioning(vector=features.view(len(pairs), -1))


_KINDS: dict[type, Callable[..., Embedder]] = {ClassConfig: ClassLabels, SizesConfig: Sizes}
"""The embedder of each config but a text's, which needs a tokenizer."""


def embedders_of(
    configs: Iterable[EmbedderConfig], texts: Iterable[Embedder] = ()
) -> tuple[Embedder, ...]:
    """An embedder for each config, in order; ``texts`` are those of the `TextConfig`s."""
    texts = iter(texts)
    return tuple(
        next(texts) if isinstance(config, TextConfig) else _KINDS[type(config)](config)
        for config in configs
    )
