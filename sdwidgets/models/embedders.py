"""Embedders of classes, sizes and the guidance scale; the embedders of a config.

Text encoders are embedders, too; they are in `text`. Those of images are in `images`, of layouts in
`boxes`, of label maps in `label_map`. An unconditional model has no embedder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from ..classes import number_of
from ..configs import (
    BertConfig,
    BoxesConfig,
    ClassConfig,
    DepthConfig,
    EmbedderConfig,
    GuidanceConfig,
    ImageConfig,
    LabelMapConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    NeighboursConfig,
    SizesConfig,
    TextConfig,
)
from ..errors import InputError
from .autoencoder import Autoencoder
from .boxes import Boxes
from .conditioning import Conditioning, Embedder, Given, Tokens
from .images import DepthMap, EditedImage, MaskedImage, SmallImage
from .label_map import LabelMap
from .layers import timestep_embedding
from .neighbours import NeighbourImages
from .text import BertEncoder, TextEncoder
from .token_encoder import TokenEncoder
from .wordpiece import bert_tokenizer

USUAL_SCORE = 6.0
"""The aesthetic score that a refiner is told where none is given."""


class ClassEmbedder(nn.Module):
    """Class numbers [B, 1] -> a token each [B, 1, width], for cross-attention.

    With ``null``, the number ``classes`` is the null class: dropped labels become it in training,
    and guidance leads away from it (arXiv 2207.12598).
    """

    def __init__(self, classes: int, width: int, *, null: bool = True):
        super().__init__()
        self.embedding = nn.Embedding(classes + null, width)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.embedding(numbers)


class ClassLabels:
    """Labels that name a class: "cat" -> its token [B, 1, width]; None is the null class.

    As in the class-conditional models of arXiv 2112.10752 (appendix E). Without a label, the prompt
    names the class. A single token has no interesting heat map: its share of the attention is 1
    everywhere.
    """

    inputs = frozenset({"label", "prompt"})

    def __init__(self, config: ClassConfig):
        self.config = config
        self.model: nn.Module = ClassEmbedder(len(config.names), config.width, null=config.null)

    def tokens(self, given: Sequence[Given]) -> Tokens:
        """Return the class numbers as ids [B, 1]. Raises InputError for an unknown class, and for
        none where the model has no null class."""
        return Tokens.without_words(self._numbers(given))

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the tokens of the classes, a context [B, 1, width]."""
        weight = next(self.model.parameters())
        return Conditioning(context=self.model(self._numbers(given).to(weight.device)))

    def _numbers(self, given: Sequence[Given]) -> Tensor:
        return torch.tensor([[self._number(each)] for each in given], device="cpu")

    def _number(self, given: Given) -> int:
        parameter = "prompt" if given.label is None else "label"
        name = (given.label or "").strip() or (given.prompt or "").strip()
        if name:
            known = "classes" if parameter == "label" else "classes, not sentences"
            return number_of(name, self.config.names, parameter=parameter, known=known)
        if not self.config.null:
            raise InputError(
                "This model has no null class: it needs a class and cannot be guided by it.\n"
                "Give a label, and guidance_scale=1.",
                parameter="label",
            )
        return len(self.config.names)


class Sizes:
    """Sizes as Fourier features in the vector, as in Stable Diffusion XL.

    They are an image's original size, the corner it was cropped from and the size it was scaled to
    ("SDXL", Podell et al., arXiv 2307.01952, section 2.2), the vertical number of each first. For
    the refiner, an aesthetic score, 0 to 10, takes the place of the last.
    """

    def __init__(self, config: SizesConfig):
        last = "aesthetic_score" if config.score else "target_size"
        self.inputs = frozenset({"original_size", "crop", last})
        self.config = config
        self.model: nn.Module = nn.Identity()  # it has no weights

    def tokens(self, given: Sequence[Given]) -> None:
        return None

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return a vector [B, 6 width], or [B, 5 width] with a score."""
        numbers = torch.tensor([self._numbers(each) for each in given], device="cpu")  # [B, 5 or 6]
        features = timestep_embedding(numbers.flatten(), self.config.width)
        return Conditioning(vector=features.view(len(given), -1))

    def _numbers(self, given: Given) -> list[float]:
        pairs = [given.original_size or given.size, given.crop or (0, 0)]
        if not self.config.score:
            pairs.append(given.target_size or given.size)
        numbers = [float(number) for pair in pairs for number in reversed(pair)]  # heights first
        if self.config.score:
            score = given.aesthetic_score
            numbers.append(USUAL_SCORE if score is None else float(score))
        return numbers


class GuidanceScale:
    """The guidance scale as features [B, width], for a network that needs no guidance.

    Such a network is distilled from a guided one, over a range of scales ("On Distillation of
    Guided Diffusion Models", Meng et al., arXiv 2210.03142, section 3.1; latent consistency models,
    Luo et al., arXiv 2310.04378). Their w is the scale minus 1, times 1000 in the features: sines,
    then cosines, with frequencies from 1 to 1/10000. No scale is that of no guidance, 1.
    """

    inputs = frozenset({"guidance_scale"})

    def __init__(self, config: GuidanceConfig):
        self.config = config
        self.model: nn.Module = nn.Identity()  # it has no weights

    def tokens(self, given: Sequence[Given]) -> None:
        return None

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return the features [B, width]."""
        scales = [1.0 if each.guidance_scale is None else each.guidance_scale for each in given]
        w = torch.tensor(scales, dtype=torch.float32, device="cpu") - 1
        half = self.config.width // 2
        exponents = torch.arange(half, dtype=torch.float32, device="cpu") / (half - 1)
        angles = 1000 * w[:, None] * torch.exp(-math.log(10000.0) * exponents)
        return Conditioning(guidance=torch.cat([angles.sin(), angles.cos()], dim=-1))


_KINDS: dict[type, Callable[..., Embedder]] = {
    ClassConfig: ClassLabels,
    BoxesConfig: Boxes,
    LabelMapConfig: LabelMap,
    SizesConfig: Sizes,
    GuidanceConfig: GuidanceScale,
}
"""The embedder of each config, except for texts, which need a tokenizer, and images that need an
autoencoder."""

_SEEN: dict[type, Callable[..., Embedder]] = {
    MaskedImageConfig: MaskedImage,
    ImageConfig: EditedImage,
    DepthConfig: DepthMap,
    LowResolutionConfig: SmallImage,
}
"""The embedder of each config of an image that needs the model's autoencoder."""


def embedders_of(
    configs: Iterable[EmbedderConfig],
    texts: Iterable[Embedder] = (),
    autoencoder: Autoencoder | None = None,
) -> tuple[Embedder, ...]:
    """Return an embedder for each config, in order.

    ``texts`` are those of the `TextConfig`s, also where neighbours have one; ``autoencoder`` is the
    model's, for those of images.
    """
    texts = iter(texts)

    def made(config: EmbedderConfig) -> Embedder:
        if isinstance(config, TextConfig):
            return next(texts)
        if isinstance(config, BertConfig):
            return BertEncoder(config, TokenEncoder(config), bert_tokenizer())
        if isinstance(config, NeighboursConfig):
            text = next(texts) if config.text else None
            assert text is None or isinstance(text, TextEncoder)
            return NeighbourImages(config, text)
        if type(config) in _KINDS:
            return _KINDS[type(config)](config)
        if autoencoder is None:
            raise ValueError(f"{type(config).__name__} needs the model's autoencoder")
        return _SEEN[type(config)](config, autoencoder)

    return tuple(map(made, configs))
