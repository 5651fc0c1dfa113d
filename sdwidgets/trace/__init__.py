"""Records of runs: the steps, the pictures, what the words looked at.

Nothing here needs torch but attention.py, which records, and questions.py, which asks a model.
"""

from .images import (
    encode_jpeg,
    encode_png,
    fit_preview,
    preview_rgb,
    read_record,
    read_settings,
    write_file,
)
from .maps import heat_map
from .recipe import DAAM, DEFAULT, Recipe
from .step import Queries, StepAttention, TraceStep
from .tokens import PromptTokens, Word
from .trace import Trace

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
