"""Embedders of classes and sizes.

Text encoders are embedders, too; they are in `text`. An unconditional model has no embedder.
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
    """Class numbers [B, 1] -> a token each [B, 1, width], for cross-attention.

    The number ``classes`` is the null class: dropped labels become it in training, and guidance
    leads away from it (arXiv 2207.12598).
    """

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, width)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.embedding(numbers)


class ClassLabels:
    """Prompts that name a class: "cat" -> its token [B, 1, width]; "" is the null class.

    As in the class-conditional models of arXiv 2112.10752 (appendix E). A single token has no
    interesting heat map: its share of the attention is 1 everywhere.
    """

    inputs = frozenset({"prompt"})

    def __init__(self, config: ClassConfig):
        self.config = config
        self.model: nn.Module = ClassEmbedder(len(config.names), config.width)

    def tokens(self, given: Sequence[Given]) -> Tokens:
        """Return the class numbers as ids [B, 1]. Raises InputError for an unknown class."""
        return Tokens.without_words(self._numbers(given))

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the tokens of the classes, a context [B, 1, width]."""
        weight = next(self.model.parameters())
        return Conditioning(context=self.model(self._numbers(given).to(weight.device)))

    def _numbers(self, given: Sequence[Given]) -> Tensor:
        numbers = [[self._number(each.prompt or "")] for each in given]
        return torch.tensor(numbers, device="cpu")

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
            f"This model knows classes, not sentences, and {name[:60]!r} is not a class.{hint}\n"
            f"Known: {few}.",
            parameter="prompt",
        )


class Sizes:
    """Sizes as Fourier features in the vector, as in Stable Diffusion XL.

    They are an image's original size, the corner it was cropped from and the size it was scaled to
    ("SDXL", Podell et al., arXiv 2307.01952, section 2.2), the vertical number of each first.
    """

    inputs = frozenset({"original_size", "crop", "target_size"})

    def __init__(self, config: SizesConfig):
        self.config = config
        self.model: nn.Module = nn.Identity()  # it has no weights

    def tokens(self, given: Sequence[Given]) -> None:
        return None

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return a vector [B, 6 width]."""
        pairs = [
            (each.original_size or each.size, each.crop or (0, 0), each.target_size or each.size)
            for each in given
        ]
        numbers = torch.tensor(pairs, dtype=torch.float32, device="cpu")  # [B, 3, 2]
        numbers = numbers.flip(-1)  # heights first
        features = timestep_embedding(numbers.flatten(), self.config.width)
        return Conditioning(vector=features.view(len(pairs), -1))


_KINDS: dict[type, Callable[..., Embedder]] = {ClassConfig: ClassLabels, SizesConfig: Sizes}
"""The embedder of each config, except for texts, which need a tokenizer."""


def embedders_of(
    configs: Iterable[EmbedderConfig], texts: Iterable[Embedder] = ()
) -> tuple[Embedder, ...]:
    """Return an embedder for each config, in order; ``texts`` are those of the `TextConfig`s."""
    texts = iter(texts)
    return tuple(
        next(texts) if isinstance(config, TextConfig) else _KINDS[type(config)](config)
        for config in configs
    )
