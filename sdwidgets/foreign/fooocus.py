"""Fooocus's settings: JSON in "parameters", or in the comment of a JPEG."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .data import json_object, text
from .found import Found
from .names import real, skipped, take_sampler, whole
from .texts import USER_COMMENT

_SIZE = re.compile(r"\(\s*(\d{1,6})\s*,\s*(\d{1,6})\s*\)")


def read(texts: Mapping[str, str]) -> Found | None:
    """What the text says; None if there is none."""
    said = json_object(texts.get("parameters")) or json_object(texts.get(USER_COMMENT))
    if said is None or not {"base_model", "performance", "resolution"} & said.keys():
        return None
    found = Found("Fooocus", model=text(said.pop("base_model", "")))
    found.values = {
        "prompt": text(said.pop("prompt", "")),
        "negative_prompt": text(said.pop("negative_prompt", "")),
        "steps": whole(said.pop("steps", None)),
        "seed": whole(said.pop("seed", None)),
        "guidance_scale": real(said.pop("guidance_scale", None)),
        "clip_skip": skipped(said.pop("clip_skip", None)),
    }
    if size := _SIZE.fullmatch(text(said.get("resolution"))):
        del said["resolution"]
        found.values |= {"width": int(size[1]), "height": int(size[2])}
    take_sampler(found, said.pop("sampler", None), said.pop("scheduler", None))
    found.values = {name: value for name, value in found.values.items() if value is not None}
    # What Fooocus's styles made of the prompt is what the network has read.
    loras = said.pop("loras", [])
    for one in loras if isinstance(loras, list) else []:
        if isinstance(one, list) and len(one) >= 2:
            found.others[f"LoRA {text(one[0])}"] = one[1]
    found.others |= said
    return found
