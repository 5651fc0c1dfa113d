"""A checkpoint before it is loaded, in any layout: configs, and open files of weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..configs import ModelConfig, PredictionSource, TextConfig
from ..sources import Source as Origin
from ..vocabulary import Vocabulary
from .few_steps import FewSteps
from .names import Lookup, Source
from .weights import WeightFile

if TYPE_CHECKING:
    from ..models.autoencoder import Autoencoder


@dataclass(frozen=True)
class Weights:
    """The open files of a part of a model, and how its parameters are named in them.

    ``shared``: the weights of a bundled model, which has the parameters that the files lack.
    """

    files: Sequence[WeightFile]
    lookup: Lookup
    kind: str = "checkpoint"  # "autoencoder" or "text encoder" for a part from elsewhere
    shared: Weights | None = None

    @property
    def count(self) -> int:
        """How many tensors there are, with those that are shared."""
        own = sum(len(file.entries) for file in self.files)
        return own + (self.shared.count if self.shared else 0)

    def place(self, name: str) -> tuple[WeightFile, Source] | None:
        """Return where a parameter is; None if it is nowhere."""
        found = (
            (file, source)
            for source in self.lookup(name)
            for file in self.files
            if source.name in file.entries
        )
        return next(found, None) or (self.shared.place(name) if self.shared else None)


NO_WEIGHTS = Weights((), lambda name: [])
"""Those of an embedder that has none."""


def of_embedders(config: ModelConfig, texts: Iterable[Weights]) -> tuple[Weights, ...]:
    """Return the weights of each embedder of a model in which only text encoders have any."""
    left = iter(texts)
    return tuple(
        next(left) if isinstance(each, TextConfig) else NO_WEIGHTS for each in config.embedders
    )


@dataclass(frozen=True)
class Layout:
    """A checkpoint with checked configs and open weight files; nothing is loaded yet."""

    path: Path
    config: ModelConfig
    weights: tuple[Weights, ...]  # of the UNet, the autoencoder, and each embedder
    tokenizers: tuple[Path | None, ...]  # of each text encoder; None: CLIP's own
    pad_from_tokenizer: bool  # for folders; for single files, the family tells how to pad
    prediction_source: PredictionSource = ""  # how it was decided what the network predicts
    decided: str = ""  # the same in words: "its mark 'v_pred' says so"
    preview: np.ndarray | None = None  # [C + 1, 3], see LatentDiffusion.preview
    vocabulary: Vocabulary | None = None  # see LatentDiffusion.vocabulary
    token_ids: tuple[tuple[int, int] | None, ...] = ()  # of start and end, by the configs
    notices: tuple[str, ...] = ()  # what changes the meaning of the model; every run repeats them
    said: tuple[str, ...] = ()  # what is said once, when the model is loaded
    autoencoder: Autoencoder | None = None  # one that is loaded already; it has no weights here
    strict: tuple[str, ...] = ()  # how names begin that must all have a place in the model
    few_steps: FewSteps | None = None  # what it was distilled for, which the config has as defaults

    @property
    def shown(self) -> str:
        """The name for messages: that of the file, or of the model in a folder."""
        return self.config.name if self.path.is_dir() else self.path.name

    @property
    def sources(self) -> tuple[Origin, ...]:
        """The weight files, each once, by the path in the model folder or the file's name."""
        folder = self.path if self.path.is_dir() else self.path.parent
        files = {
            file.path: file.stamp
            for weights in self.weights
            for file in weights.files
            if weights.kind == "checkpoint"
        }
        return tuple(
            Origin(path.relative_to(folder).as_posix(), file=file) for path, file in files.items()
        )

    @property
    def parts(self) -> tuple[Origin, ...]:
        """The weight files of parts from elsewhere, and what a loaded part was made of."""
        loaded = self.autoencoder.sources if self.autoencoder is not None else ()
        files = {
            file.path: (weights.kind, file.stamp)
            for weights in self.weights
            for file in weights.files
            if weights.kind != "checkpoint"
        }
        named = (Origin(path.name, kind=kind, file=file) for path, (kind, file) in files.items())
        return (*named, *loaded)
