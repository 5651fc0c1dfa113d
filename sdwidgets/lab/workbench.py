"""Autoencoders by name, and the results computed with them, kept while they are in use."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..checkpoints import load_autoencoder, load_model
from ..checkpoints.features import bundled_features
from ..checkpoints.zoo import bundled_folder
from ..errors import CheckpointNotFound
from ..models.perceptual import FeatureDistance
from ..pictures import as_picture
from ..pixels import to_tensor
from ..threads import threads_for
from .directions import Directions, principal_directions
from .edited import Edited, apply_edits
from .edits import Walk
from .history import History
from .original import Original
from .reconstruction import Encoded, Reconstruction, encode, measure, posterior_of
from .samples import samples

if TYPE_CHECKING:
    from ..models.autoencoder import Autoencoder
    from ..pipeline import LatentDiffusion

KEPT = 16
"""Encoded images kept: those used last."""


class Workbench:
    """Loads autoencoders when they are first needed, and encodes an image once with each.

    For one thread at a time. A user's ``own`` autoencoders hide bundled ones of the same name.
    """

    def __init__(self, model: LatentDiffusion | None = None):
        self.own: dict[str, Autoencoder] = {}
        self._model = model
        self._loaded: dict[str, Autoencoder] = {}
        self._encoded: OrderedDict[tuple[str, Original], Encoded] = OrderedDict()
        self._measured: WeakKeyDictionary[Encoded, Reconstruction] = WeakKeyDictionary()
        self._directions: dict[str, Directions] = {}

    @property
    def model(self) -> LatentDiffusion:
        """The diffusion model of the noise panel: the one given, or the bundled one."""
        if self._model is None:
            self._model = load_model()
        return self._model

    @cached_property
    def distance(self) -> FeatureDistance | None:
        """The perceptual distance; None if its network is not installed."""
        try:
            return bundled_features()
        except CheckpointNotFound:
            return None

    def autoencoder(self, name: str) -> Autoencoder:
        """The autoencoder of that name. Raises what `load_autoencoder` raises."""
        if name in self.own:
            return self.own[name]
        if name not in self._loaded:
            # a folder or file of that name in the working directory does not come in between
            self._loaded[name] = load_autoencoder(bundled_folder(name) or name)
        return self._loaded[name]

    def put(self, name: str, autoencoder: Autoencoder) -> None:
        """Use this autoencoder under that name from now on."""
        self.own[name] = autoencoder
        self._directions.pop(name, None)
        for key in [key for key in self._encoded if key[0] == name]:
            del self._encoded[key]

    def encoded(self, name: str, original: Original) -> Encoded:
        """The image through that autoencoder and back."""
        key = name, original
        if key not in self._encoded:
            self._encoded[key] = encode(self.autoencoder(name), to_tensor(original.image))
            while len(self._encoded) > KEPT:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(key)
        return self._encoded[key]

    def reconstruction(self, name: str, original: Original) -> Reconstruction:
        """The image's reconstruction, measured."""
        encoded = self.encoded(name, original)
        if encoded not in self._measured:
            with threads_for(self.autoencoder(name), encoded.pixels[:, 0].numel()):
                self._measured[encoded] = measure(name, encoded, self.distance)
        return self._measured[encoded]

    def find_directions(self, name: str) -> bool:
        """Compute the principal directions of the latents of the sample images; False if they are
        known already."""
        if name in self._directions:
            return False
        autoencoder = self.autoencoder(name)
        images = [as_picture(sample.path)[0] for sample in samples()]
        latents = [posterior_of(autoencoder, to_tensor(image)).mean for image in images]
        with threads_for(autoencoder, sum(each[:, 0].numel() for each in latents)):
            self._directions[name] = principal_directions(latents)
        return True

    def edited(self, name: str, original: Original, history: History) -> Edited:
        """The image after edits of its latents."""
        encoded = self.encoded(name, original)
        if any(isinstance(edit, Walk) for edit in history.now):
            self.find_directions(name)
        directions = self._directions.get(name)
        autoencoder = self.autoencoder(name)
        with threads_for(autoencoder, encoded.pixels[:, 0].numel()):
            return apply_edits(name, autoencoder, encoded, history, directions)
