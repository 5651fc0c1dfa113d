"""Records of runs: the steps, the images, where the words looked.

Only attention.py, which records, and questions.py, which asks a model, need torch.
"""

from .images import encode_jpeg, encode_png, fit_preview, preview_rgb
from .maps import heat_map
from .png import read_record, read_settings
from .recipe import DAAM, DEFAULT, Recipe
from .step import Queries, StepAttention, TraceStep
from .tokens import PromptTokens, Word
from .trace import Trace
from .writing import write_file

__all__ = [
    "DAAM",
    "DEFAULT",
    "PromptTokens",
    "Queries",
    "Recipe",
    "StepAttention",
    "Trace",
    "TraceStep",
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
