"""The autoencoder lab's engine: images through autoencoders, and what lies between.

Pure functions and frozen dataclasses, with no Jupyter; `sdwidgets.Lab` shows them. The edits of
latents are imported from here: ``from sdwidgets.lab import Knock, Scale, Noise, Shift, Flip, Paint,
Walk``; so are ``to_tensor`` and ``to_image``, from a PIL image to a tensor and back.
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
