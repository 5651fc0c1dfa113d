"""ComfyUI's graphs: how they are read, and followed backwards from what they save.

"prompt" is the graph as it ran: a node by id, with its class and its inputs, and an input is a
value or a link, ``[id, output]``. "workflow" is the graph as it was drawn: widgets have no names
there, so only nodes whose order of widgets is known can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .data import text

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
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "ImageScale": ("upscale_method", "width", "height", "crop"),
    "ImageScaleBy": ("upscale_method", "scale_by"),
    "ImagePadForOutpaint": ("left", "top", "right", "bottom", "feathering"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "RandomNoise": ("noise_seed", ""),
    "PrimitiveNode": ("value",),
}  # fmt: skip
"""The widgets of the classes in a drawn graph, in order; "" has no input of its own."""

_LATENTS = ("latent_image", "samples", "samples_to", "latent", "pixels", "image")


@dataclass(frozen=True)
class Node:
    """A node of a graph: its class, and its inputs by name."""

    id: str
    kind: str
    inputs: Mapping[str, Any]


Graph = Mapping[str, Node]


def as_run(said: dict[str, Any] | None) -> dict[str, Node]:
    """The graph as it ran; empty for anything else."""
    graph = {}
    for number, node in (said or {}).items():
        if isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping):
            graph[number] = Node(number, text(node.get("class_type")), node["inputs"])
    return graph


def as_drawn(said: dict[str, Any] | None) -> dict[str, Node]:
    """The graph as it was drawn; empty for anything else."""
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
        graph[str(node.get("id"))] = Node(str(node.get("id")), kind, inputs)
    return graph


def linked(graph: Graph, value: Any) -> Node | None:
    """The node that an input comes from; None if it is a value."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)):
        return graph.get(str(value[0]))
    return None


def upstream(graph: Graph, node: Node) -> Iterator[Node]:
    """The nodes that a node depends on, the nearest first, each once."""
    seen, queue = {node.id}, [node]
    while queue:
        for value in queue.pop(0).inputs.values():
            source = linked(graph, value)
            if source is not None and source.id not in seen:
                seen.add(source.id)
                queue.append(source)
                yield source


def is_sampler(node: Node) -> bool:
    """Whether a node makes latents from conditioning and latents."""
    return ("positive" in node.inputs or "guider" in node.inputs) and any(
        name in node.inputs for name in ("latent_image", "latent", "samples")
    )


def sampler_of(graph: Graph) -> Node | None:
    """The sampler that the saved image comes from; without one, the last sampler of the graph."""
    savers = [node for node in graph.values() if "Save" in node.kind and "images" in node.inputs]
    shown = [node for node in graph.values() if node.kind == "PreviewImage"]
    for end in [*savers, *shown]:
        for node in upstream(graph, end):
            if is_sampler(node):
                return node
    return next((node for node in reversed(list(graph.values())) if is_sampler(node)), None)


def first_pass(graph: Graph, sampler: Node) -> Node:
    """The sampler that begins from nothing, if ``sampler`` goes on from another's latents."""
    found = sampler
    for _ in range(len(graph)):
        way = way_to(graph, found)
        if not way or not is_sampler(way[-1]):
            return found
        found = way[-1]
    return found


def way_to(graph: Graph, node: Node) -> list[Node]:
    """The nodes through which the latents of a sampler have come, the nearest first, back to
    another sampler or to where they were made."""
    way: list[Node] = []
    seen = {node.id}
    while not way or not is_sampler(node):
        links = (linked(graph, node.inputs.get(name)) for name in _LATENTS)
        source = next((link for link in links if link is not None), None)
        if source is None or source.id in seen:
            break
        seen.add(source.id)
        way.append(source)
        node = source
    return way


def value_of(graph: Graph, node: Node | None, *names: str) -> Any:
    """The value of the first of these inputs that there is; links to nodes with one value are
    followed."""
    for name in names:
        value = node.inputs.get(name) if node else None
        for _ in range(8):
            source = linked(graph, value)
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
