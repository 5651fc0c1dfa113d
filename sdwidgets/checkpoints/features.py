"""Networks whose features measure how different images look: the bundled one, or a VGG16."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from .. import checks
from ..errors import CheckpointError
from ..models.perceptual import VGG16, FeatureDistance, SceneFeatures
from . import names
from .fill import Part, fill, plan
from .layout import Weights
from .target import device_of
from .weights import WeightFile

BUNDLED = Path(__file__).resolve().parents[1] / "weights" / "features" / "features.safetensors"


def bundled_features(device: str | torch.device = "cpu") -> FeatureDistance:
    """Return the distance in the features of the network trained on emoji scenes."""
    return FeatureDistance(_filled(SceneFeatures, BUNDLED, device))


def load_lpips(
    vgg16: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    device: str | torch.device = "cpu",
) -> FeatureDistance:
    """Return LPIPS (arXiv 1801.03924) with your VGG16, from safetensors files.

    ``vgg16`` has torchvision's names; its classifier is not read. ``weights`` are LPIPS's learnt
    weights with its names ("lin0.model.1.weight" [1, C, 1, 1] to "lin4..."); without them all
    channels count the same. Raises ``CheckpointError``.
    """
    place = checks.path("vgg16", vgg16)
    learnt_place = None if weights is None else checks.path("weights", weights)
    features = _filled(VGG16, place, device)
    if learnt_place is None:
        return FeatureDistance(features)
    learnt = []
    with WeightFile(learnt_place) as file:
        for layer, (width, _) in enumerate(VGG16.LEVELS):
            name = f"lin{layer}.model.1.weight"
            entry = file.entries.get(name)
            if entry is None or tuple(entry.shape) != (1, width, 1, 1):
                raise CheckpointError(
                    f"{weights} has no tensor {name!r} of the shape [1, {width}, 1, 1].\n"
                    "LPIPS's weights for VGG16 have five of them, lin0 to lin4."
                )
            learnt.append(file.read(name, torch.float32, torch.device("cpu")).flatten())
    return FeatureDistance(features, learnt)


def _filled(kind: type[nn.Module], path: Path, device: str | torch.device) -> nn.Module:
    with ExitStack() as stack:
        file = stack.enter_context(WeightFile(path))
        with torch.device("meta"):
            network = kind()
        planned = plan(Part("feature network", network, Weights([file], names.diffusers_names())))
        fill(planned, torch.float32, device_of(device))
    return network
