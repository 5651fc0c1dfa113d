"""The notebook's widgets: the Studio, views of a run, of a training and of autoencoders.

Importing this package imports ipywidgets and anywidget, but not torch.
"""

from .attention import Attention
from .compare import Compare
from .denoising import Denoising
from .lab import Lab
from .picture import PictureView
from .side import connect
from .studio import Studio
from .tokens import Tokens
from .training import TrainingView
from .viewer import Viewer, link

__all__ = [
    "Attention",
    "Compare",
    "Denoising",
    "Lab",
    "PictureView",
    "Studio",
    "Tokens",
    "TrainingView",
    "Viewer",
    "connect",
    "link",
]
