"""The notebook's widgets: the Studio, views of a run, of a training and of autoencoders.

Importing this package imports ipywidgets and anywidget, but not torch.
"""

from .attention import Attention
from .boxes import Boxes
from .branches import Branches
from .compare import Compare
from .denoising import Denoising
from .lab import Lab
from .label_map import LabelMap
from .painter import Painter
from .picture import PictureView
from .side import connect
from .studio import Studio
from .sweep import Sweep
from .tokens import Tokens
from .training import TrainingView
from .viewer import Viewer, link
from .walk import Walk

__all__ = [
    "Attention",
    "Boxes",
    "Branches",
    "Compare",
    "Denoising",
    "Lab",
    "LabelMap",
    "Painter",
    "PictureView",
    "Studio",
    "Sweep",
    "Tokens",
    "TrainingView",
    "Viewer",
    "Walk",
    "connect",
    "link",
]
