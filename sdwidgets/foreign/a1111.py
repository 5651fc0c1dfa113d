"""AUTOMATIC1111's text, which stable-diffusion.cpp and many others write, too: the prompt, the
negative prompt, and a line of settings::

    a cat
    Negative prompt: a dog
    Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: anything
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..strict_json import parse
from .data import json_object
from .found import Found
from .names import AUTOMATIC, UNTIL_1_8, real, skipped, take_options, take_sampler, whole
from .texts import USER_COMMENT

_NEGATIVE = "Negative prompt:"
_KEY = re.compile(r"\s*([A-Za-z][\w /+.-]{0,60}):\s*")
_SIZE = re.compile(r"(\d{1,6})\s*x\s*(\d{1,6})")
_TAG = re.compile(r"<(lora|lyco|hypernet):([^<>:]{1,200})((?::[^<>:]{0,30}){0,4})>")
_OPTIONS = {
    "Eta": "eta", "Eta DDIM": "eta", "Sigma churn": "s_churn", "Sigma noise": "s_noise",
}  # fmt: skip
_CLOSING = {"{": "}", "[": "]", "(": ")"}


def read(texts: Mapping[str, str]) -> Found | None:
    """What the text says; None if there is none."""
    said = texts.get("parameters") or texts.get(USER_COMMENT)
    if not said or json_object(said) is not None:
        return None
    lines = said.replace("\r\n", "\n").split("\n")
    starts = [number for number, line in enumerate(lines) if line.lstrip().startswith("Steps: ")]
    if not starts:
        return None
    prompt, negative = _prompts(lines[: starts[-1]])
    values = dict(_pairs(lines[starts[-1]]))
    version = values.get("Version", "")
    is_cpp = "stable-diffusion.cpp" in version
    found = Found("stable-diffusion.cpp" if is_cpp else "AUTOMATIC1111")
    prompt = _without_tags(prompt, found)
    found.values |= {"prompt": prompt, "negative_prompt": _without_tags(negative, found)}
    _take(found, values)
    rest = "\n".join(lines[starts[-1] + 1 :]).strip()
    if rest:
        found.others["more"] = rest
    return found


def _prompts(lines: list[str]) -> tuple[str, str]:
    number = next((n for n, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[number:]).removeprefix(_NEGATIVE)
    return "\n".join(lines[:number]).strip(), negative.strip()


def _take(found: Found, values: dict[str, str]) -> None:
    numbers = (("steps", "Steps"), ("seed", "Seed"))
    found.values |= {ours: whole(values.pop(name, None)) for ours, name in numbers}
    found.values["guidance_scale"] = real(values.pop("CFG scale", None))
    found.values["clip_skip"] = skipped(values.pop("Clip skip", None))
    if size := _SIZE.fullmatch(values.get("Size", "")):
        del values["Size"]
        found.values |= {"width": int(size[1]), "height": int(size[2])}
    sampler = values.pop("Sampler", None)
    schedule = values.pop("Schedule type", None) or values.pop("Scheduler", None)
    if schedule == "Beta":  # over sigma and not over the steps, and with numbers from its options
        take_sampler(found, sampler)
        found.others["noise levels"] = schedule
    else:
        is_new = _version(values.get("Version", "")) >= (1, 9)
        take_sampler(found, sampler, schedule, AUTOMATIC if is_new else UNTIL_1_8)
    for theirs, ours in _OPTIONS.items():
        take_options(found, {ours: values.pop(theirs, None)})
    if "Image CFG scale" in values:
        found.values["image_guidance_scale"] = real(values.pop("Image CFG scale"))
    if "RescaleCFG" in values:
        found.values["guidance_rescale"] = real(values.pop("RescaleCFG"))
    if {"Variation seed", "Variation seed strength"} <= values.keys():
        other, strength = values.pop("Variation seed"), values.pop("Variation seed strength")
        found.values["variation"] = (whole(other), real(strength))
    if any(name.startswith("Hires ") for name in values):
        _take_second_pass(found, values)
    elif "Denoising strength" in values:
        found.task = "inpainting" if "Mask blur" in values else "image to image"
        found.values["strength"] = real(values.pop("Denoising strength"))
    found.model = values.pop("Model", "")
    found.others |= values
    found.values = {name: value for name, value in found.values.items() if value is not None}


def _version(text: str) -> tuple[int, int]:
    """Its version, also inside that of a fork, "f2.0.1v1.10.1"; (0, 0) if there is none."""
    numbers = re.findall(r"v(\d{1,3})\.(\d{1,3})", text)
    return (int(numbers[-1][0]), int(numbers[-1][1])) if numbers else (0, 0)


def _take_second_pass(found: Found, values: dict[str, str]) -> None:
    """The second pass, whose strength is the "Denoising strength"; "Size" is the first's.

    "Hires resize" gives the final size instead of a factor, with 0 for a side that follows from the
    other. Where both sides give different factors, a part is cut off, and it has no setting here.
    """
    scale = real(values.get("Hires upscale"))
    final = _SIZE.fullmatch(values.get("Hires resize", ""))
    if scale is None and final is not None:
        sides = zip(final.groups(), ("width", "height"), strict=True)
        factors = {
            int(side) / found.values[name]
            for side, name in sides
            if int(side) and found.values.get(name)
        }
        scale = factors.pop() if len(factors) == 1 else None
    if not isinstance(scale, float) or not found.takes("hires", scale):
        return
    values.pop("Hires upscale" if "Hires upscale" in values else "Hires resize")
    steps = whole(values.pop("Hires steps", None)) or found.values["steps"]  # 0: as in the first
    upscaler = values.get("Hires upscaler", "Latent")
    method = "latents" if upscaler.startswith("Latent") else "pixels"
    found.second_pass(scale, real(values.pop("Denoising strength", None)), steps, method)


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a line; a value with commas is quoted, or in brackets."""
    place = 0
    while match := _KEY.match(line, place):
        place = match.end()
        end = _end_of(line, place)
        value = line[place:end].strip()
        if value.startswith('"'):
            try:
                value = str(parse(value))
            except ValueError:
                value = value.strip('"')
        yield match[1].strip(), value
        place = end + 1


def _end_of(line: str, start: int) -> int:
    """The index of the comma that ends a value, or the line's length."""
    closing: list[str] = []
    quoted = escaped = False
    for index in range(start, len(line)):
        character = line[index]
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"' and (index == start or closing):
            quoted = True
        elif character in _CLOSING and (index == start or closing):
            closing.append(_CLOSING[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            return index
    if closing or quoted:  # never closed: up to the next comma
        comma = line.find(",", start)
        return len(line) if comma < 0 else comma
    return len(line)


def _without_tags(prompt: str, found: Found) -> str:
    """The prompt without "<lora:name:0.8>", which is no part of what the network reads."""
    for kind, name, strengths in _TAG.findall(prompt):
        label = {"lora": "LoRA", "lyco": "LoRA", "hypernet": "hypernetwork"}[kind]
        found.others[f"{label} {name}"] = strengths.strip(":").replace(":", ", ") or "1"
    return re.sub(r" {2,}", " ", _TAG.sub("", prompt)).strip()
