"""Records of runs: the steps, the pictures, what the words looked at."""

from .attention import AttentionRecorder, heat_map, tapped
from .images import (
    encode_jpeg,
    encode_png,
    fit_preview,
    preview_rgb,
    read_record,
    write_file,
)
from .trace import Trace

__all__ = [
    "AttentionRecorder",
    "Trace",
    "encode_jpeg",
    "encode_png",
    "fit_preview",
    "heat_map",
    "preview_rgb",
    "read_record",
    "tapped",
    "write_file",
]
