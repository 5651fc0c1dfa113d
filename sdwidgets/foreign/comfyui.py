"""ComfyUI's settings: the graph that made the image, followed backwards from its sampler.

"prompt" is the graph as it ran: a node by id, with its class and its inputs, and an input is a
value or a link, ``[id, output]``. "workflow" is the graph as it was drawn: widgets have no names
there, so only nodes whose order of widgets is known can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .data import json_object, text
from .found import Found
from .names import real, take_sampler, whole

_WIDGETS = {
    "KSampler": (
        "seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise",
    ),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler",
        "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "CLIPTextEncode": ("text",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "VAELoader": ("vae_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "RandomNoise": ("noise_seed", ""),
    "PrimitiveNode": ("value",),
}  # fmt: skip
"""The widgets of the classes in a drawn graph, in order; "" has no input of its own."""

_TEXTS = ("text", "text_g", "prompt", "string", "value", "text_l", "clip_l", "populated_text")
_MORE_CONDITIONING = (
    "conditioning", "conditioning_1", "conditioning_to", "conditioning_2", "positive", "negative",
)  # fmt: skip
_LATENTS = ("latent_image", "samples", "samples_to", "latent", "pixels", "image")


@dataclass(frozen=True)
class _Node:
    id: str
    kind: str
    inputs: Mapping[str, Any]


Graph = Mapping[str, _Node]


def read(texts: Mapping[str, str]) -> Found | None:
    """What the graph says; None if there is no graph, or no sampler in it."""
    texts = {**texts, **_of_exif(texts)}
    graph = _as_run(json_object(texts.get("prompt"))) or _as_drawn(
        json_object(texts.get("workflow"))
    )
    sampler = _sampler(graph)
    if sampler is None:
        return None
    found = Found("ComfyUI")
    first = _first_pass(graph, sampler)
    if first is not sampler:
        found.others["second pass"] = sampler.kind
    _take_sampler(found, graph, first)
    _take_latents(found, graph, first)
    _take_model(found, graph, first)
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


def _as_run(said: dict[str, Any] | None) -> dict[str, _Node]:
    graph = {}
    for number, node in (said or {}).items():
        if isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping):
            graph[number] = _Node(number, text(node.get("class_type")), node["inputs"])
    return graph


def _as_drawn(said: dict[str, Any] | None) -> dict[str, _Node]:
    nodes = said.get("nodes") if said else None
    links = said.get("links") if said else None
    if not isinstance(nodes, list) or not isinstance(links, list):
        return {}
    origins = {
        link[0]: [str(link[1]), link[2]]
        for link in links
        if isinstance(link, list) and len(link) >= 5 and isinstance(link[0], int)
    }
    graph = {}
    for node in nodes:
        if not isinstance(node, Mapping) or node.get("mode") in (2, 4):  # muted, bypassed
            continue
        kind, values = text(node.get("type")), node.get("widgets_values")
        widgets = _WIDGETS.get(kind, ())
        inputs: dict[str, Any] = {}
        if isinstance(values, list):
            inputs = {name: value for name, value in zip(widgets, values, strict=False) if name}
        for slot in node.get("inputs") or ():
            link = slot.get("link") if isinstance(slot, Mapping) else None
            if isinstance(link, int) and link in origins:
                inputs[text(slot.get("name"))] = origins[link]
        graph[str(node.get("id"))] = _Node(str(node.get("id")), kind, inputs)
    return graph


def _linked(graph: Graph, value: Any) -> _Node | None:
    """The node that an input comes from; None if it is a value."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)):
        return graph.get(str(value[0]))
    return None


def _upstream(graph: Graph, node: _Node) -> Iterator[_Node]:
    """The nodes that a node depends on, the nearest first, each once."""
    seen, queue = {node.id}, [node]
    while queue:
        for value in queue.pop(0).inputs.values():
            source = _linked(graph, value)
            if source is not None and source.id not in seen:
                seen.add(source.id)
                queue.append(source)
                yield source


def _is_sampler(node: _Node) -> bool:
    return ("positive" in node.inputs or "guider" in node.inputs) and any(
        name in node.inputs for name in ("latent_image", "latent", "samples")
    )


def _sampler(graph: Graph) -> _Node | None:
    """The sampler that the saved image comes from; without one, the last sampler of the graph."""
    savers = [node for node in graph.values() if "Save" in node.kind and "images" in node.inputs]
    shown = [node for node in graph.values() if node.kind == "PreviewImage"]
    for end in [*savers, *shown]:
        for node in _upstream(graph, end):
            if _is_sampler(node):
                return node
    return next((node for node in reversed(list(graph.values())) if _is_sampler(node)), None)


def _first_pass(graph: Graph, sampler: _Node) -> _Node:
    """The sampler that begins from nothing, if ``sampler`` goes on from another's latents."""
    found = sampler
    for _ in range(len(graph)):
        latents = _latents(graph, found)
        if latents is None or not _is_sampler(latents):
            return found
        found = latents
    return found


def _latents(graph: Graph, node: _Node) -> _Node | None:
    """The node where the latents that a sampler begins from are made."""
    seen = {node.id}
    while True:
        links = (_linked(graph, node.inputs.get(name)) for name in _LATENTS)
        source = next((link for link in links if link is not None), None)
        if source is None or source.id in seen:
            return node if len(seen) > 1 else None
        seen.add(source.id)
        node = source
        if _is_sampler(node):
            return node


def _value(graph: Graph, node: _Node | None, *names: str) -> Any:
    """The value of the first of these inputs that there is; links to nodes with one value are
    followed."""
    for name in names:
        value = node.inputs.get(name) if node else None
        for _ in range(8):
            source = _linked(graph, value)
            if source is None:
                break
            inputs = source.inputs
            value = next(
                (inputs[one] for one in (name, "seed", "value", "int", "float") if one in inputs),
                None,
            )
        if value is not None and not isinstance(value, (list, Mapping)):
            return value
    return None


def _take_sampler(found: Found, graph: Graph, node: _Node) -> None:
    guider = _linked(graph, node.inputs.get("guider")) or node
    noise = _linked(graph, node.inputs.get("noise")) or node
    method = _linked(graph, node.inputs.get("sampler")) or node
    sigmas = _linked(graph, node.inputs.get("sigmas")) or node
    found.values |= {
        "prompt": _prompt(found, graph, guider, "positive", "conditioning"),
        "negative_prompt": _prompt(found, graph, guider, "negative"),
        "seed": whole(_value(graph, noise, "seed", "noise_seed")),
        "steps": whole(_value(graph, sigmas, "steps")),
        "guidance_scale": real(_value(graph, guider, "cfg")),
    }
    kind = sigmas.kind.removesuffix("Scheduler").lower()
    schedule = _value(graph, sigmas, "scheduler") or (kind if sigmas is not node else None)
    take_sampler(found, _value(graph, method, "sampler_name"), schedule)
    strength = real(_value(graph, sigmas, "denoise"))
    if isinstance(strength, (int, float)) and strength != 1:
        found.values["strength"] = strength
    for name in ("start_at_step", "end_at_step"):
        value = whole(_value(graph, node, name))
        if isinstance(value, int) and value not in (0, 10_000):
            found.others[name.replace("_", " ")] = value


def _prompt(found: Found, graph: Graph, node: _Node, *names: str) -> str | None:
    """The text that an input of a sampler comes from."""
    links = (_linked(graph, node.inputs.get(name)) for name in names)
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
        sources = (_linked(graph, start.inputs.get(one)) for one in order)
        start = next((source for source in sources if source is not None), None)
    return None


def _said(graph: Graph, node: _Node) -> str | None:
    """The text of a node that encodes one, which may be that of another node."""
    for name in _TEXTS:
        value = node.inputs.get(name)
        for _ in range(8):
            source = _linked(graph, value)
            if source is None:
                break
            value = next((source.inputs[one] for one in _TEXTS if one in source.inputs), None)
        if isinstance(value, str):
            return value.strip()
    return None


def _take_sizes(found: Found, graph: Graph, node: _Node) -> None:
    """The sizes that Stable Diffusion XL's text nodes tell."""
    names = {
        "original_size": ("width", "height"),
        "crop": ("crop_w", "crop_h"),
        "target_size": ("target_width", "target_height"),
    }
    for ours, pair in names.items():
        values = tuple(whole(_value(graph, node, name)) for name in pair)
        if node.kind == "CLIPTextEncodeSDXL" and all(isinstance(one, int) for one in values):
            found.values[ours] = values


def _take_latents(found: Found, graph: Graph, node: _Node) -> None:
    latents = _latents(graph, node)
    if latents is None:
        return
    if latents.kind.startswith("Empty") or "batch_size" in latents.inputs:
        for name in ("width", "height", "batch_size"):
            found.values[name] = whole(_value(graph, latents, name))
        return
    masked = any("mask" in each.inputs for each in _upstream(graph, node))
    found.task = "inpainting" if masked else "image to image"


def _take_model(found: Found, graph: Graph, node: _Node) -> None:
    """The model and what changes it, from the sampler back to its loader."""
    guider = _linked(graph, node.inputs.get("guider")) or node
    current, seen = _linked(graph, guider.inputs.get("model")), set[str]()
    while current is not None and current.id not in seen:
        seen.add(current.id)
        name = _value(graph, current, "ckpt_name", "unet_name")
        if isinstance(name, str):
            found.model = name.replace("\\", "/").rpartition("/")[2]
        elif isinstance(lora := _value(graph, current, "lora_name"), str):
            strength = real(_value(graph, current, "strength_model"))
            found.others[f"LoRA {lora}"] = "1" if strength is None else strength
        else:
            found.others[f"node {current.kind}"] = "passed over"
        current = _linked(graph, current.inputs.get("model"))
    for each in _upstream(graph, node):
        if each.kind == "CLIPSetLastLayer":
            layer = whole(_value(graph, each, "stop_at_clip_layer"))
            if isinstance(layer, int) and -100 <= layer <= -1:
                found.values["clip_skip"] = -layer - 1
