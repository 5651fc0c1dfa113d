"""Views of a run in a notebook: the Studio, and the picture as it forms.

Importing this imports ipywidgets and anywidget, but not torch.
"""

from .picture import PictureView
from .studio import Studio

__all__ = ["PictureView", "Studio"]
