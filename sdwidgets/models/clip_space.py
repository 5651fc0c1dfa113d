"""Images and texts as vectors of the same space: CLIP's two towers (arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .clip_vision import CLIPVision
from .conditioning import Embedder, Given
from .neighbours import NeighbourImages, Towers
from .text import TextEncoder


@dataclass(frozen=True, eq=False)
class ClipSpace:
    """Embeds images and, with a text tower, texts; the cosine between two says how alike they are.

    ``name`` says where it came from, so that it can be found again; "" if it is not known.
    """

    vision: CLIPVision
    text: TextEncoder | None = None
    name: str = ""

    @property
    def width(self) -> int:
        """D, the width of the vectors."""
        return self.vision.config.projection_dim

    def images(self, images: Tensor) -> Tensor:
        """Return unit vectors [B, D] of ``images`` [B, 3, H, W] in [-1, 1], with gradients."""
        weight = self.vision.visual_projection.weight
        prepared = self.vision.prepared(images.to(weight.device, torch.float32))
        return F.normalize(self.vision(prepared.to(weight.dtype)).float(), dim=-1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors [B, D] of texts. Raises InputError without a text tower."""
        if self.text is None:
            raise InputError("This encoder reads no texts.\nGive an image.", parameter="query")
        vector = self.text.embed([Given(text, (1, 1)) for text in texts]).vector
        if vector is None:
            raise InputError(
                "The text encoder has no projection into the space of images.", parameter="encoder"
            )
        return F.normalize(vector.float(), dim=-1)


def space_of(embedders: Iterable[Embedder]) -> ClipSpace | None:
    """Return the space of a model's neighbours; None for a model that takes none."""
    for each in embedders:
        if isinstance(each, NeighbourImages):
            assert isinstance(each.model, Towers)
            return ClipSpace(each.model.vision, each.text)
    return None
