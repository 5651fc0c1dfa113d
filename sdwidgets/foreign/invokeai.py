"""InvokeAI's settings, in three generations: "Dream", a command line; "sd-metadata" and
"invokeai_metadata", JSON."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from .data import inside, json_object, text
from .found import Found
from .names import real, take_sampler, whole

_FLAGS = {"s": "steps", "S": "seed", "W": "width", "H": "height", "C": "guidance_scale"}
_TASKS = {"img2img": "image to image", "inpaint": "inpainting", "outpaint": "inpainting"}


def read(texts: Mapping[str, str]) -> Found | None:
    """What the newest of the texts says; None if there is none."""
    if said := json_object(texts.get("invokeai_metadata")):
        return _newest(said)
    if said := json_object(texts.get("sd-metadata")):
        return _second(said)
    if texts.get("Dream"):
        return _first(texts["Dream"])
    return None


def _newest(said: dict[str, Any]) -> Found:
    model = said.pop("model", None)
    name = inside(model, "model_name") or inside(model, "name") or model
    found = Found("InvokeAI", model=text(name))
    taken = {
        "prompt": "positive_prompt",
        "negative_prompt": "negative_prompt",
        "steps": "steps",
        "seed": "seed",
        "guidance_scale": "cfg_scale",
        "guidance_rescale": "cfg_rescale_multiplier",
        "width": "width",
        "height": "height",
        "clip_skip": "clip_skip",  # counts as here: 0 is the last layer
    }
    found.values = {ours: whole(said.pop(theirs, None)) for ours, theirs in taken.items()}
    mode = text(said.pop("generation_mode", ""))
    found.task = next((task for word, task in _TASKS.items() if word in mode), found.task)
    if found.task != "text to image":
        found.values["strength"] = said.pop("strength", None)
    _take_second_pass(found, said)
    take_sampler(found, said.pop("scheduler", None))
    loras = said.pop("loras", None)
    for one in loras if isinstance(loras, list) else []:
        lora = inside(one, "model") or inside(one, "lora")
        name = inside(lora, "model_name") or inside(lora, "name") or "?"
        found.others[f"LoRA {name}"] = inside(one, "weight")
    found.others |= said
    return _kept(found)


def _take_second_pass(found: Found, said: dict[str, Any]) -> None:
    """The "high resolution fix", if the size of its first pass is told; "width" is the last's."""
    final = [found.values.get(name) for name in ("width", "height")]
    begun = [whole(said.get(name)) for name in ("hrf_width", "hrf_height")]
    if said.get("hrf_enabled") is False or not all(isinstance(n, int) and n for n in final + begun):
        return
    factors = {last / first for last, first in zip(final, begun, strict=True)}
    if len(factors) > 1 or not found.takes("hires", scale := factors.pop()):
        return
    found.values |= {"width": begun[0], "height": begun[1], "hires": scale}
    found.values |= {"hires_strength": said.pop("hrf_strength", None), "hires_method": "pixels"}
    for name in ("hrf_width", "hrf_height", "hrf_enabled"):
        said.pop(name, None)


def _take_variation(found: Found, said: Any) -> Any:
    """A single variation, a seed and its weight, as a setting; returns what is left."""
    one = said[0] if isinstance(said, list) and len(said) == 1 else None
    seed, weight = whole(inside(one, "seed")), inside(one, "weight")
    if seed is None or weight is None:
        return said
    found.values["variation"] = (seed, weight)
    return None


def _second(said: dict[str, Any]) -> Found:
    image = said.pop("image", None)
    image = dict(image) if isinstance(image, Mapping) else {}
    found = Found("InvokeAI", model=text(said.pop("model_weights", "")))
    asked = image.pop("prompt", "")
    if isinstance(asked, list):
        if len(asked) > 1:
            found.others["prompts"] = [inside(one, "prompt") for one in asked]
        asked = inside(asked[0], "prompt") if asked else ""
    prompt, negative = _parted(text(asked))
    found.values = {"prompt": prompt, "negative_prompt": negative}
    names = {"cfg_scale": "guidance_scale"}
    for theirs in ("steps", "seed", "cfg_scale", "width", "height"):
        found.values[names.get(theirs, theirs)] = whole(image.pop(theirs, None))
    found.task = _TASKS.get(text(image.pop("type", "")), found.task)
    if found.task != "text to image":
        found.values["strength"] = image.pop("strength", None)
    take_sampler(found, image.pop("sampler", None))
    image["variations"] = _take_variation(found, image.pop("variations", None))
    found.others |= {**image, **said}
    return _kept(found)


def _first(line: str) -> Found | None:
    """A command: the prompt in quotes, then flags such as ``-s 50``, with a space or without."""
    match = re.match(r'\s*(?:dream>\s*)?"((?:[^"\\]|\\.)*)"', line) or re.match(r"([^-]*)", line)
    if match is None:
        return None
    found = Found("InvokeAI")
    prompt, negative = _parted(match[1].replace('\\"', '"'))
    found.values = {"prompt": prompt, "negative_prompt": negative}
    try:
        words = shlex.split(line[match.end() :])
    except ValueError:  # a quote that never ends
        words = line[match.end() :].split()
    place = 0
    while place < len(words):
        flag, value = words[place][:2], words[place][2:]
        place += 1
        if len(flag) < 2 or flag[0] != "-" or flag == "--":
            found.others[words[place - 1]] = "yes"
            continue
        if not value and place < len(words) and not re.match(r"-[A-Za-z-]", words[place]):
            value, place = words[place], place + 1
        name = flag[1]
        if name in _FLAGS:
            is_scale = name == "C"
            found.values[_FLAGS[name]] = real(value) if is_scale else whole(value)
        elif name == "A":
            take_sampler(found, value)
        elif name == "f":
            found.task, found.values["strength"] = "image to image", real(value)
        elif name == "I":
            found.task = "image to image"
        elif name == "V" and re.fullmatch(r"\d+:[\d.]+", value):
            other, weight = value.split(":")
            found.values["variation"] = (whole(other), real(weight))
        else:
            found.others[flag] = value or "yes"
    return _kept(found)


def _parted(prompt: str) -> tuple[str, str]:
    """The prompt and what stands in square brackets, which is the negative prompt."""
    negative = ", ".join(re.findall(r"\[([^\[\]]*)\]", prompt))
    return " ".join(re.sub(r"\[[^\[\]]*\]", "", prompt).split()), negative.strip()


def _kept(found: Found) -> Found:
    found.values = {name: value for name, value in found.values.items() if value is not None}
    if re.search(r"\)[+-]|\w(\+\+|--)|\.(swap|blend|and)\(", text(found.values.get("prompt"))):
        found.others["weights"] = "word++ and (word)1.2 are InvokeAI's, and are text here"
    return found
