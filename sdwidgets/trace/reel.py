"""A run for the page: a header of plain data, and each step as bytes.

Front ends (js/src/lib/reel.ts) unpack them; exported pages and saved notebooks hold them. Latents
are float16, and attention is eight bits with a scale for each map, so everything that a person may
choose to see of a step is in the browser already.

The bytes of a step, little endian: the length n of a text, n bytes of JSON, then the arrays that
its ``parts`` name, each starting at a multiple of four.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..contract import HEADER_VERSION, LONGEST_SIDE, PARTS
from .images import SD1_PREVIEW
from .maps import averaged, sizes
from .recipe import DEFAULT, Recipe, labels, place_of
from .record import Record, control_of, cross_of
from .step import TraceStep
from .tokens import PromptTokens

_READ = ("places", "weights", "learnt", "padding")  # of a prompt that is not simply its first words


def header_of(record: Record, run: int, *, recipe: Recipe = DEFAULT) -> dict[str, Any]:
    """Return the data of a run for the page, except its steps: a dict for JSON.

    ``run``: a number that tells this run from others in the same view. The layers are empty until
    the record has a step.
    """
    settings = record.settings
    first = record.steps[0] if record.steps else None
    width, height = settings.width or 0, settings.height or 0
    if width and height:
        width, height = settings.final_size
    if first is not None and not width:  # steps of someone's own loop have no settings
        height, width = first.x.shape[-2:]
    factors = record.factors
    if factors is None and first is not None:
        factors = factors_for(first.x.shape[1])
    return {
        "v": HEADER_VERSION,
        "run": run,
        "model": record.model,
        "task": record.task,
        "sampler": settings.sampler if record.task else "",  # "": someone's own loop
        "schedule": settings.schedule if record.task else "",
        "steps": record.expected or len(record.steps),
        "guidance_scale": 1.0 if settings.guidance_scale is None else settings.guidance_scale,
        "guidance_rescale": settings.guidance_rescale,
        "guided": bool(record.negative_tokens) or (first is not None and first.cond is not None),
        "width": width,
        "height": height,
        "factors": [] if factors is None else np.asarray(factors).tolist(),
        "sigmas": [],
        "schedule_sigmas": list(record.schedule_sigmas),
        **_layers(record, recipe),
        "pictures": [
            _picture(tokens, negative, seed)
            for tokens, negative, seed in zip(
                record.tokens,
                settings.negative_prompts,
                settings.seeds if settings.seed is not None else [0] * settings.batch_size,
                strict=False,
            )
        ],
        **_controls(record),
        **_parent(record),
    }


def factors_for(channels: int) -> np.ndarray:
    """[channels + 1, 3]: preview factors for a model that has none."""
    return SD1_PREVIEW if channels == 4 else np.eye(channels + 1, 3, dtype=np.float32) / 2


def _layers(record: Record, recipe: Recipe) -> dict[str, Any]:
    """The recorded layers, and which of them count in a heat map."""
    grids = sizes(cross_of(record.steps))
    names = list(grids)
    chosen = recipe.layers(grids, record.steps[0].x.shape[-2:]) if names else []
    return {
        "layers": [
            {"name": name, "label": label, "place": place_of(name)}
            for name, label in zip(names, labels(names), strict=True)
        ],
        "recipe": {
            "layers": [names.index(name) for name in chosen],
            "steps": list(recipe.steps),
            "against": recipe.against,
        },
    }


def _parent(record: Record) -> dict[str, Any]:
    """How the run came from another, and how many first steps are that run's own."""
    parent = record.parent
    return {} if parent is None else {"parent": {"how": parent.how, "step": parent.step}}


def _controls(record: Record) -> dict[str, Any]:
    """The controls, and the levels that they are recorded for; nothing for a run without any."""
    if not record.given_controls:
        return {}
    names = list(control_of(record.steps))
    return {
        "controls": [control.as_dict() for control in record.given_controls],
        "levels": labels(names),
    }


def _picture(tokens: PromptTokens, negative: str, seed: int) -> dict[str, Any]:
    return {
        "prompt": tokens.prompt,
        "negative_prompt": negative,
        "seed": seed,
        "slots": tokens.slots,
        "cut": tokens.cut,
        "pieces": list(tokens.pieces),
        "words": [
            {"text": w.text, "tokens": list(w.tokens), "start": w.start, "end": w.end}
            for w in tokens.words
        ],
        **{name: list(value) for name in _READ if (value := getattr(tokens, name))},
    }


def pack(step: TraceStep, *, longest: int = LONGEST_SIDE, parts: Collection[str] = PARTS) -> bytes:
    """A step as bytes; its latents and maps have at most ``longest`` cells along a side.

    ``parts``: which of `PARTS` to pack, as far as the step has them.
    """
    wanted = [(name, _latents(step, name)) for name in PARTS if name in parts]
    latents = [(name, values) for name, values in wanted if values is not None]
    packed = [name for name, _ in latents]
    arrays = [_within(values, longest).astype("<f2") for _, values in latents]
    by = _reduction(step.denoised, longest)
    size = (*step.denoised.shape[:2], *(-(-side // by) for side in step.denoised.shape[2:]))
    grids: list[tuple[int, int]] = []
    tokens = 0
    if "attention" in parts and step.attention is not None and step.attention.cross:
        packed.append("attention")
        for maps in step.attention.cross.values():
            means = _within(maps.astype(np.float32).mean(1), longest)  # [B, T, h, w]
            grids.append(means.shape[-2:])
            tokens = means.shape[1]
            arrays += quantised(means)
    more: dict[str, Any] = {}
    if "control" in parts and step.control:
        packed.append("control")
        levels = [_within(maps[:, :, 0], longest) for maps in step.control.values()]  # [B, K, h, w]
        more = {"levels": [maps.shape[-2:] for maps in levels], "controls": levels[0].shape[1]}
        arrays += [array for maps in levels for array in quantised(maps)]
    meta = {
        "index": step.index,
        "sigma": step.sigma,
        "sigma_next": step.sigma_next,
        "seconds": step.seconds,
        "size": size,
        "parts": packed,
        "grids": grids,
        "tokens": tokens,
        **more,
    }
    text = json.dumps(meta).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([_length(text), text, *map(_padded, arrays)])


def _latents(step: TraceStep, part: str) -> np.ndarray | None:
    """[B, C, h, w], or None where the step has no such part, or it is no latents."""
    if part == "x":
        return step.x / math.sqrt(1 + step.sigma**2)
    if part == "denoised":
        return step.denoised
    if step.cond is None or step.uncond is None:
        return None
    if part == "uncond":
        return step.uncond
    # the difference is small: kept by itself it stays accurate at any guidance scale
    return step.cond - step.uncond if part == "difference" else None


def film(frames: Sequence[bytes]) -> bytes:
    """Frames one after another, each preceded by its length."""
    return b"".join(part for frame in frames for part in (_length(frame), frame))


def quantised(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(scale [...] float32, levels [..., h, w] uint8) of maps [..., h, w] of values from 0 up.

    ``levels / 255 * scale`` is the map again, off by at most scale / 510; the scale is the map's
    greatest value.
    """
    scale = maps.max((-2, -1)).astype("<f4")
    safe = np.where(scale > 0, scale, 1)[..., None, None]
    return scale, np.rint(maps * (255 / safe)).clip(0, 255).astype(np.uint8)


def _within(values: np.ndarray, longest: int) -> np.ndarray:
    """[..., h, w] with at most ``longest`` cells along a side, averaged down by a whole number."""
    return averaged(values, _reduction(values, longest))


def _reduction(values: np.ndarray, longest: int) -> int:
    """How many cells become one along each side, so that there are at most ``longest``."""
    return math.ceil(max(values.shape[-2:]) / longest)


def _length(content: bytes) -> bytes:
    return len(content).to_bytes(4, "little")


def _padded(values: np.ndarray) -> bytes:
    content = values.tobytes()
    return content + bytes(-len(content) % 4)
