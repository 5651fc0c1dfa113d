"""Records of runs: the steps, the images, where the words looked.

Only the recorders (attention.py, control.py), questions.py, which asks a model, and edited.py with
editor.py, which make another run, need torch.
"""

from .images import encode_jpeg, encode_png, fit_preview, preview_rgb
from .maps import heat_map
from .png import read_record, read_settings
from .recipe import DAAM, DEFAULT, Recipe
from .step import Queries, StepAttention, TraceStep
from .tokens import PromptTokens, Word
from .trace import Trace
from .tree import Node, Tree
from .writing import write_file

__all__ = [
    "DAAM",
    "DEFAULT",
    "Node",
    "PromptTokens",
    "Queries",
    "Recipe",
    "StepAttention",
    "Trace",
    "TraceStep",
    "Tree",
    "Word",
    "encode_jpeg",
    "encode_png",
    "fit_preview",
    "heat_map",
    "preview_rgb",
    "read_record",
    "read_settings",
    "write_file",
]
