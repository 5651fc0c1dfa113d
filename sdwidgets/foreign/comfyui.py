"""ComfyUI's settings: the graph that made the image, followed backwards from its sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .data import json_object
from .found import Found
from .graph import (
    Graph,
    Node,
    as_drawn,
    as_run,
    first_pass,
    linked,
    sampler_of,
    upstream,
    value_of,
    way_to,
)
from .names import real, take_options, take_sampler, whole

_TEXTS = ("text", "text_g", "prompt", "string", "value", "text_l", "clip_l", "populated_text")
_MORE_CONDITIONING = (
    "conditioning", "conditioning_1", "conditioning_to", "conditioning_2", "positive", "negative",
)  # fmt: skip

_SIDES = ("left", "top", "right", "bottom")


def read(texts: Mapping[str, str]) -> Found | None:
    """What the graph says; None if there is no graph, or no sampler in it."""
    texts = {**texts, **_of_exif(texts)}
    graph = as_run(json_object(texts.get("prompt"))) or as_drawn(json_object(texts.get("workflow")))
    sampler = sampler_of(graph)
    if sampler is None:
        return None
    found = Found("ComfyUI")
    first = first_pass(graph, sampler)
    _take_sampler(found, graph, first)
    _take_latents(found, graph, first)
    _take_model(found, graph, first)
    if first is not sampler:
        _take_second_pass(found, graph, first, sampler)
    found.values = {name: value for name, value in found.values.items() if value is not None}
    return found


def _of_exif(texts: Mapping[str, str]) -> dict[str, str]:
    """The graphs in Exif, each behind its name: "prompt:{...}"."""
    found = {}
    for said in (texts.get(name, "") for name in ("Make", "Model", "ImageDescription")):
        name, colon, graph = said.partition(":")
        if colon and name.strip().lower() in ("prompt", "workflow"):
            found[name.strip().lower()] = graph
    return found


def _take_sampler(found: Found, graph: Graph, node: Node) -> None:
    guider = linked(graph, node.inputs.get("guider")) or node
    noise = linked(graph, node.inputs.get("noise")) or node
    method = linked(graph, node.inputs.get("sampler")) or node
    sigmas = linked(graph, node.inputs.get("sigmas")) or node
    found.values |= {
        "prompt": _prompt(found, graph, guider, "positive", "conditioning"),
        "negative_prompt": _prompt(found, graph, guider, "negative"),
        "seed": whole(value_of(graph, noise, "seed", "noise_seed")),
        "steps": whole(value_of(graph, sigmas, "steps")),
        "guidance_scale": real(value_of(graph, guider, "cfg")),
    }
    kind = sigmas.kind.removesuffix("Scheduler").lower()
    schedule = value_of(graph, sigmas, "scheduler") or (kind if sigmas is not node else None)
    _take_method(found, graph, method, schedule)
    strength = real(value_of(graph, sigmas, "denoise"))
    if isinstance(strength, (int, float)) and strength != 1:
        found.values["strength"] = strength
    steps = found.values["steps"]
    for name in ("start_at_step", "end_at_step"):
        step = whole(value_of(graph, node, name))
        idle = 0 if name == "start_at_step" else steps
        if isinstance(step, int) and step not in (idle, 10_000):
            found.others[name.replace("_", " ")] = step


def _take_method(found: Found, graph: Graph, node: Node, schedule: Any) -> None:
    """The sampler of a node: by its name, or by a class of its own with options."""
    name = value_of(graph, node, "sampler_name")
    if name is None and node.kind.startswith("Sampler") and not node.kind.startswith("SamplerCus"):
        name = node.kind.removeprefix("Sampler")
        if value_of(graph, node, "solver_type") == "heun":
            name += " heun"
    take_sampler(found, name, schedule)
    take_options(found, {one: value_of(graph, node, one) for one in ("eta", "s_noise")})


def _prompt(found: Found, graph: Graph, node: Node, *names: str) -> str | None:
    """The text that an input of a sampler comes from."""
    links = (linked(graph, node.inputs.get(name)) for name in names)
    start = next((link for link in links if link is not None), None)
    name, seen = names[0], set[str]()
    while start is not None and start.id not in seen:
        seen.add(start.id)
        if (said := _said(graph, start)) is not None:
            _take_sizes(found, graph, start)
            return said
        if start.kind == "ConditioningZeroOut":
            return ""
        found.others[f"node {start.kind}"] = "passed over"
        # a node with both outputs passes each on
        order = [name, *_MORE_CONDITIONING]
        sources = (linked(graph, start.inputs.get(one)) for one in order)
        start = next((source for source in sources if source is not None), None)
    return None


def _said(graph: Graph, node: Node) -> str | None:
    """The text of a node that encodes one, which may be that of another node."""
    for name in _TEXTS:
        value = node.inputs.get(name)
        for _ in range(8):
            source = linked(graph, value)
            if source is None:
                break
            value = next((source.inputs[one] for one in _TEXTS if one in source.inputs), None)
        if isinstance(value, str):
            return value.strip()
    return None


def _take_sizes(found: Found, graph: Graph, node: Node) -> None:
    """The sizes that Stable Diffusion XL's text nodes tell."""
    names = {
        "original_size": ("width", "height"),
        "crop": ("crop_w", "crop_h"),
        "target_size": ("target_width", "target_height"),
    }
    for ours, pair in names.items():
        values = tuple(whole(value_of(graph, node, name)) for name in pair)
        if node.kind == "CLIPTextEncodeSDXL" and all(isinstance(one, int) for one in values):
            found.values[ours] = values


def _take_latents(found: Found, graph: Graph, node: Node) -> None:
    """The latents that a sampler begins from: empty ones, or an image's, perhaps padded."""
    way = way_to(graph, node)
    if not way:
        return
    latents = way[-1]
    if latents.kind.startswith("Empty") or "batch_size" in latents.inputs:
        for name in ("width", "height", "batch_size"):
            found.values[name] = whole(value_of(graph, latents, name))
        return
    masked = any("mask" in each.inputs for each in upstream(graph, node))
    found.task = "inpainting" if masked else "image to image"
    start, steps = found.others.get("start at step"), found.values["steps"]
    if isinstance(start, int) and isinstance(steps, int) and 0 < start < steps:
        del found.others["start at step"]
        found.values["strength"] = (steps - start) / steps
    found.values.setdefault("strength", 1.0)
    pads = [each for each in way if each.kind == "ImagePadForOutpaint"]
    if len(pads) == 1:
        sides = [whole(value_of(graph, pads[0], side)) for side in _SIDES]
        found.task, found.values["pad"] = "outpainting", tuple(sides)
        found.others["feathering"] = value_of(graph, pads[0], "feathering")


_ENLARGES = {
    ("LatentUpscale",): "latents",
    ("LatentUpscaleBy",): "latents",
    ("VAEEncode", "ImageScale", "VAEDecode"): "pixels",
    ("VAEEncode", "ImageScaleBy", "VAEDecode"): "pixels",
}
"""What is enlarged by the nodes between two samplers, from the second back to the first."""


def _take_second_pass(found: Found, graph: Graph, first: Node, last: Node) -> None:
    """What the sampler ``last`` does with the latents of ``first``: the rest of its steps, or a
    second pass. It has no setting if more than its size, strength and steps is other."""
    second = Found(found.program)
    _take_sampler(second, graph, last)
    _take_model(second, graph, last)
    between = way_to(graph, last)
    names = ("prompt", "negative_prompt", "guidance_scale", "sampler", "schedule")
    alike = second.model == found.model and all(
        found.values.get(name) == second.values.get(name) for name in names
    )
    if not alike or between[-1] is not first:
        found.others["second pass"] = last.kind
        return
    if len(between) == 1 and found.values["steps"] == second.values["steps"]:
        # the same grid of steps in two nodes
        stops, goes_on = found.others.get("end at step"), second.others.get("start at step")
        if stops == goes_on and value_of(graph, last, "add_noise") == "disable":
            del found.others["end at step"]
            return
    resize = between[(len(between) - 1) // 2]  # alone, or between decoding and encoding
    method = _ENLARGES.get(tuple(each.kind for each in between[:-1]))
    scale = _scale(found, graph, resize)
    strength, steps = second.values.get("strength"), second.values["steps"]
    if (
        method is None
        or scale is None
        or not found.takes("hires", scale)
        or not found.takes("hires_strength", strength)
    ):
        found.others["second pass"] = last.kind
        return
    found.second_pass(scale, strength, steps, method)
    found.others["upscale method"] = value_of(graph, resize, "upscale_method")
    if second.values["seed"] != found.values["seed"]:
        found.others["second pass seed"] = second.values["seed"]


def _scale(found: Found, graph: Graph, resize: Node) -> float | None:
    """The factor by which a node enlarges both sides; None if they differ or are not known."""
    scale = real(value_of(graph, resize, "scale_by"))
    if isinstance(scale, (int, float)):
        return float(scale)
    factors = set()
    for name in ("width", "height"):
        side, before = whole(value_of(graph, resize, name)), found.values.get(name)
        if isinstance(side, int) and isinstance(before, int) and side and before:
            factors.add(side / before)
    return factors.pop() if len(factors) == 1 else None


def _take_model(found: Found, graph: Graph, node: Node) -> None:
    """The model and what changes it, from the sampler back to its loader."""
    guider = linked(graph, node.inputs.get("guider")) or node
    current, seen = linked(graph, guider.inputs.get("model")), set[str]()
    while current is not None and current.id not in seen:
        seen.add(current.id)
        name = value_of(graph, current, "ckpt_name", "unet_name")
        if isinstance(name, str):
            found.model = name.replace("\\", "/").rpartition("/")[2]
        elif isinstance(lora := value_of(graph, current, "lora_name"), str):
            strength = real(value_of(graph, current, "strength_model"))
            found.others[f"LoRA {lora}"] = "1" if strength is None else strength
        else:
            found.others[f"node {current.kind}"] = "passed over"
        current = linked(graph, current.inputs.get("model"))
    for each in upstream(graph, node):
        if each.kind == "CLIPSetLastLayer":
            layer = whole(value_of(graph, each, "stop_at_clip_layer"))
            if isinstance(layer, int) and -100 <= layer <= -1:
                found.values["clip_skip"] = -layer - 1
