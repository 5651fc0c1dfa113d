"""The autoencoder lab's workings: pictures into autoencoders and out again, and what lies between.

Pure functions and frozen dataclasses, with no Jupyter; `sdwidgets.Lab` shows them. Edits of latents
are here by name: ``from sdwidgets.lab import Knock, Scale, Noise, Shift, Flip, Paint, Walk``; and
so is the way from a PIL picture to a tensor and back, ``to_tensor`` and ``to_image``.
"""

from ..pixels import to_image, to_tensor
from .edits import Edit, Flip, Knock, Noise, Paint, Scale, Shift, Walk

__all__ = [
    "Edit",
    "Flip",
    "Knock",
    "Noise",
    "Paint",
    "Scale",
    "Shift",
    "Walk",
    "to_image",
    "to_tensor",
]
