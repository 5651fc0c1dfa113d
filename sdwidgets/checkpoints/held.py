"""Which parts of a model the tensors of a file belong to, told by their names."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from .description import Description, Holding, tensors
from .weights import FLOATS, ITEM_BYTES, Entry, quoted


class Opened(Protocol):
    """A file whose names, types and shapes are known: a `TensorFile`, or several as one."""

    @property
    def path(self) -> Path: ...
    @property
    def entries(self) -> Mapping[str, Entry]: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...


_PARTS = (
    ("UNet", r"^(model\.diffusion_model\.|unet[.:]|lora_unet_|lycoris_unet_)"),
    ("autoencoder", r"^(first_stage_model\.|vae\.|autoencoder\.)"),
    ("conditioning", r"^embedders\.\d+\."),
    ("second text encoder",
     r"^(conditioner\.embedders\.1\.|text_encoder_2\.|(lora_|lycoris_)?te2_)"),
    ("T5", r"^(text_encoders\.t5|text_encoder_3\.)"),
    ("table of classes", r"^cond_stage_model\.embedding\."),
    ("encoder of label maps", r"^cond_stage_model\.channel_mapper\."),
    ("text encoder",
     r"^(cond_stage_model\.|conditioner\.embedders\.0\.|text_encoder[.:]|text_encoders\."
     r"|(lora_|lycoris_)?te1?_)"),
    ("EMA copy", r"^model_ema\."),
    ("ControlNet", r"^control_model\."),
    ("depth network", r"^depth_model\."),
    ("image encoder", r"^(embedder|image_encoder)\."),
)  # fmt: skip
_ORDER = ("UNet", "transformer", "autoencoder", "text encoder", "second text encoder")
_PART_PATTERNS = tuple((part, re.compile(pattern)) for part, pattern in _PARTS)

# What training and other programs leave in files, and what no loader needs.
_LEFT = (
    ("of the noise schedule of its training",
     r"^(betas|alphas_cumprod(_prev)?|sqrt_\w+|log_one_minus_\w+|posterior_\w+|lvlb_weights|logvar"
     r"|denoiser\.sigmas|model_ema\.(decay|num_updates))$"),
    ("of its training's losses", r"^(first_stage_model\.)?loss\."),
    ("for positions", r"\.(position_ids|attn_mask)$"),
)  # fmt: skip
_LEFT_PATTERNS = tuple((title, re.compile(pattern)) for title, pattern in _LEFT)
MARKS = re.compile(
    r"^(v_pred|ztsnr|edm_mean|edm_std|edm_vpred\.sigma_(max|min)|(.*\.)?scaled_fp8)$"
)
"""Names of tensors that are no weights, but change what a file means."""


def _part_of(name: str) -> str:
    """The part to which a tensor belongs, or what it is instead."""
    for title, pattern in _LEFT_PATTERNS:
        if pattern.search(name):
            return title
    if MARKS.match(name):
        return "mark"
    return next((part for part, pattern in _PART_PATTERNS if pattern.match(name)), "")


def held_in(path: Path, files: Sequence[Opened], parts: Sequence[str] = ()) -> Description:
    """Describe what is in the files; ``parts`` names the part in each, unless their names do."""
    held: dict[str, list[int]] = {}
    kinds: Counter[str] = Counter()
    names: list[str] = []
    for number, file in enumerate(files):
        for name, entry in file.entries.items():
            part = parts[number] if parts else _part_of(name)
            size = math.prod(entry.shape)
            if entry.dtype in FLOATS:
                kinds[FLOATS[entry.dtype]] += size
            sums = held.setdefault(part, [0, 0, 0])
            for i, more in enumerate((1, size, size * ITEM_BYTES.get(entry.dtype, 16))):
                sums[i] += more
            if part == "":
                names.append(name)
    titles = {title for title, _ in _LEFT}
    ignored = [f"{tensors(sums[0])} {part}" for part, sums in held.items() if part in titles]
    known = [part for part in held if part not in (*titles, "mark", "")]
    if known and names:
        ignored.append(f"{tensors(len(names))} of no known part, such as {quoted(min(names))}")
    known.sort(key=lambda part: _ORDER.index(part) if part in _ORDER else len(_ORDER))
    shown = known or [part for part in held if part == ""]
    return Description(
        path=path,
        kind="",
        what="",
        holds=tuple(Holding(part or "tensors", *held[part]) for part in shown),
        dtype=", ".join(kind for kind, count in kinds.most_common() if count),
        bytes=sum(_size(file.path) for file in files),
        ignored=tuple(ignored),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it is gone meanwhile
        return 0
