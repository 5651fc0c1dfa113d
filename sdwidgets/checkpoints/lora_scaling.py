"""The alpha of LoRAs that do not keep it in their tensors.

PEFT writes it into ``adapter_config.json`` beside the weights, and diffusers, which uses PEFT, into
the file's metadata (``lora_adapter_metadata``) for each network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..strict_json import parse_object
from .weights import quoted, read_json

CONFIG = "adapter_config.json"
_KINDS = ("LORA", "LOHA")


@dataclass(frozen=True)
class _Part:
    """The scaling of the modules whose names begin with ``prefix``."""

    prefix: str
    alpha: float | None
    patterns: Mapping[str, float]
    stabilised: bool  # divided by the root of the rank ("rsLoRA", arXiv 2312.03732, section 3)


@dataclass(frozen=True)
class Scaling:
    """What is known of the alpha of modules whose tensors have none."""

    parts: tuple[_Part, ...] = ()

    def of(self, module: str, rank: int) -> float:
        """Return the scale of a module of that rank; 1 if nothing is known of its alpha."""
        for part in self.parts:
            if not module.startswith(part.prefix):
                continue
            path = module.removeprefix(part.prefix)
            # PEFT matches names and the ends of names
            fitting = (a for key, a in part.patterns.items() if f".{path}".endswith(f".{key}"))
            alpha = next(fitting, part.alpha)
            if alpha is not None:
                return alpha / (math.sqrt(rank) if part.stabilised else rank)
        return 1.0


def peft_settings(path: Path) -> dict[str, Any]:
    """Return PEFT's settings, {} if there is no such file. Raises ``CheckpointError``."""
    if not path.is_file():
        return {}
    settings = read_json(path)
    kind = settings.get("peft_type", _KINDS[0])
    if kind not in _KINDS:
        raise CheckpointError(
            f"{path} describes an adapter of the kind {quoted(kind)}, which is not applied here.\n"
            f"Known: {', '.join(_KINDS)}."
        )
    return settings


def scaling_of(path: Path, metadata: Mapping[str, str], settings: Mapping[str, Any]) -> Scaling:
    """Return the scaling that PEFT's settings give, or else the notes in the file ``path``.

    Raises ``CheckpointError``.
    """
    if settings:
        return Scaling((_part(settings, "", path),))
    noted = metadata.get("lora_adapter_metadata", "")
    if not noted:
        return Scaling()
    try:
        notes = parse_object(noted.encode("utf-8", "replace"))
    except ValueError as error:
        raise CheckpointError(f"{path}: its notes on the LoRA are damaged: {error}.") from None
    parts = []
    for prefix in ("unet.", "text_encoder.", "text_encoder_2."):
        own = {key.removeprefix(prefix): v for key, v in notes.items() if key.startswith(prefix)}
        parts += [_part(own, prefix, path)] if own else []
    return Scaling(tuple(parts))


def _part(settings: Mapping[str, Any], prefix: str, path: Path) -> _Part:
    alpha = settings.get("lora_alpha", settings.get("alpha"))
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise CheckpointError(f"{path}: alpha_pattern in its settings is no table.")
    for value in [*([] if alpha is None else [alpha]), *patterns.values()]:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise CheckpointError(f"{path}: alpha in its settings is {quoted(value)}, no number.")
    for key in patterns:
        if not re.fullmatch(r"[\w.]+", key):
            raise CheckpointError(
                f"{path}: alpha_pattern has {quoted(key)}, a pattern that is no module's name."
            )
    return _Part(
        prefix,
        None if alpha is None else float(alpha),
        {key: float(value) for key, value in patterns.items()},
        settings.get("use_rslora") is True,
    )
