"""``load_classifier``: a classifier of noisy latents, from a file with published names."""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch

from .. import checks
from ..configs import ClassifierConfig
from ..errors import CheckpointError
from .fill import Part, extras, fill_all, leftovers, plan, precision
from .layout import Weights
from .names import compvis_classifier_names
from .target import device_of, dtype_of, loaded
from .weights import WeightFile

if TYPE_CHECKING:
    from ..models.classifier import NoisyClassifier

_PREFIXES = ("", "model.")  # the network alone, or as latent diffusion's training saved it
_FIRST = "input_blocks.0.0.weight"
_OF_THE_DENOISER = "diffusion_model."  # which that training also saved


def load_classifier(
    path: str | os.PathLike[str],
    config: ClassifierConfig,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    check_finite: bool = True,
) -> NoisyClassifier:
    """Return the classifier of noisy latents (arXiv 2105.05233, section 4) in a file.

    The file has the names of guided diffusion's and latent diffusion's ``EncoderUNetModel``. Shapes
    do not tell the heads and the classes, so ``config`` says what it is. ``device`` and ``dtype``
    are as for `load`.

    Raises ``CheckpointNotFound``, ``CheckpointError`` (for truncated, unknown, unsafe or unfit
    files), ``OutOfMemory`` or ``InputError``. Except for values that are not finite, it does so
    before any weight is read.
    """
    from ..models.classifier import NoisyClassifier

    target = device_of(device)
    number = dtype_of(dtype, target)
    checks.flag("check_finite", check_finite)
    checks.instance("config", config, ClassifierConfig, "See sdwidgets.configs.")
    place = checks.path("path", path)

    def assemble(stack: ExitStack) -> tuple[NoisyClassifier, list[str]]:
        file = stack.enter_context(WeightFile(place))
        prefix = next((p for p in _PREFIXES if p + _FIRST in file.shapes), None)
        if prefix is None:
            raise CheckpointError(
                f"{place} holds no classifier of noisy latents: it has no tensor {_FIRST!r}."
            )
        weights = Weights([file], compvis_classifier_names(config, prefix))
        with torch.device("meta"):  # shapes, and no memory
            network = NoisyClassifier(config)
        planned = plan(Part("classifier", network, weights))
        fill_all(
            [planned], f"The classifier {place.name}", number, target, check_finite=check_finite
        )
        unused = [name for name in extras([planned]) if not name.startswith(_OF_THE_DENOISER)]
        return network, [*precision(place.name, [planned]), *leftovers(place.name, unused)]

    network, notices = loaded(place, target, assemble)
    for said in notices:
        warnings.warn(said, stacklevel=2)
    return network
