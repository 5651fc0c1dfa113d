"""The bytes of records in files: taken apart, put together again, and wrong in many ways."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from sdwidgets.sources import MOST


def apart(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the JSON and the tensors of a file, read by the format's description alone."""
    from safetensors.numpy import load

    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["sdtrace"]), load(content)


def together(record: Any, tensors: Mapping[str, np.ndarray]) -> bytes:
    """Return a file's bytes with a valid digest, for any record."""
    from safetensors.numpy import save

    text = json.dumps({**record, "sha256": "0" * 64}, separators=(",", ":"))
    content = save(dict(tensors), metadata={"sdtrace": text})
    return content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode(), 1)


def pixels(image: Image.Image) -> np.ndarray:
    png = io.BytesIO()
    image.save(png, "PNG")
    return np.frombuffer(png.getvalue(), np.uint8)


def wrong() -> dict[str, Callable[[dict[str, Any], dict[str, np.ndarray]], Any]]:
    """Files that are well formed and whole, but wrong."""
    png = io.BytesIO()
    Image.new("RGB", (2, 2)).save(png, "PNG")
    bomb = np.frombuffer(png.getvalue(), np.uint8).copy()
    bomb[16:24] = [0, 0, 0x80, 0, 0, 0, 0x80, 0]  # width and height
    bomb[29:33] = list(zlib.crc32(bomb[12:29].tobytes()).to_bytes(4, "big"))
    deep = json.loads("[" * 100 + "]" * 100)

    def step(**changes: Any) -> Callable[[dict[str, Any], Any], Any]:
        return lambda record, _: record["steps"][0].update(changes)

    def top(**changes: Any) -> Callable[[dict[str, Any], Any], Any]:
        return lambda record, _: record.update(changes)

    def tensor(name: str, value: np.ndarray) -> Callable[[Any, dict[str, np.ndarray]], Any]:
        return lambda _, tensors: tensors.update({name: value})

    def grid(size: Any) -> Callable[[dict[str, Any], Any], Any]:
        return lambda record, _: record["layers"]["cross"].update(
            dict.fromkeys(record["layers"]["cross"], size)
        )

    return {
        "format": top(format="1"),
        "no settings": top(settings=None),
        "steps of settings": lambda record, _: record["settings"].update(steps=10**6),
        "prompt": lambda record, _: record["settings"].update(prompt=5),
        "long model": top(model="x" * 100_001),
        "notices": top(notices=["x"] * 2000),
        "deep notices": top(notices=deep),
        "versions": top(versions={"a": 1}),
        "complete": top(complete=1),
        "run_seconds": top(run_seconds=-1.0),
        "expected": top(expected=10_001),
        "many steps": top(steps=[{}] * 10_001),
        "expected too few": top(expected=2),
        "factors of other latents": tensor("factors", np.zeros((4, 3), np.float32)),
        "more images than the batch": lambda record, tensors: (
            record.update(pictures=["images.0", "images.1"]),
            tensors.update({"images.1": tensors["images.0"]}),
        ),
        "mask of another size": lambda record, tensors: (
            record.update(pictures=["images.0", "given_image", "given_mask"]),
            tensors.update(
                given_image=pixels(Image.new("RGB", (8, 8))),
                given_mask=pixels(Image.new("L", (8, 9))),
            ),
        ),
        "mask in colour": lambda record, tensors: (
            record.update(pictures=["images.0", "given_mask"]),
            tensors.update(given_mask=pixels(Image.new("RGB", (8, 8)))),
        ),
        "no such parts": step(parts=["x", "denoised", "__class__"]),
        "no denoised": step(parts=["x"]),
        "negative index": step(index=-1),
        "same index": step(index=1),
        "index": step(index=True),
        "sigma": step(sigma=-1.0),
        "huge sigma": step(sigma=1e300),
        "text": step(sigma="1"),
        "seconds": step(seconds=-1),
        "batch": top(latents=[65, 4, 8, 8]),
        "latents": top(latents=[1, 4, 8]),
        "huge latents": top(latents=[1, 4, 10**6, 10**6]),
        "no layers": top(layers={}),
        "many layers": lambda record, _: record["layers"].update(
            cross={str(i): [2, 2] for i in range(334_000)}
        ),
        "grid": grid([2, 0]),
        "grid of text": grid("2"),
        "huge grid": grid([4096, 4096]),
        "tokens": lambda record, _: record["tokens"].append(record["tokens"][0]),
        "spans": lambda record, _: record["tokens"][0].update(spans=[[0, 99], [2, 5]]),
        "one span": lambda record, _: record["tokens"][0].update(spans=[[0, 1]]),
        "pieces": lambda record, _: record["tokens"][0].update(
            pieces=["a"] * 9, spans=[[0, 1]] * 9
        ),
        "pictures": top(pictures=["images.1"]),
        "twice": top(pictures=["images.0", "images.0"]),
        "stored": top(stored={"precision": "4-bit"}),
        "averaged": lambda record, _: record["stored"].update(averaged={"down": 0}),
        "schedule": top(schedule_sigmas=[1, "2"]),
        "many sources": top(sources=[{"name": "a", "kind": "lora"}] * (MOST + 1)),
        "long source": top(sources=[{"name": "a" * 1000, "kind": "lora"}]),
        "sha256": top(sources=[{"name": "a", "kind": "lora", "sha256": "A" * 64}]),
        "commit": top(sources=[{"name": "a", "kind": "lora", "commit": "main"}]),
        "strength": top(sources=[{"name": "a", "kind": "lora", "strength": 1e9}]),
        "kind": top(sources=[{"name": "a"}]),
        "many controls": top(controls=[{"name": "a", "strength": 1, "start": 0, "end": 1}] * 9),
        "name of a control": top(controls=[{"name": 5, "strength": 1, "start": 0, "end": 1}]),
        "strength of a control": top(controls=[{"name": "a", "strength": 11, "start": 0}]),
        "end of a control": top(controls=[{"name": "a", "strength": 1, "start": 0, "end": 2}]),
        "image of no control": lambda record, tensors: (
            record.update(pictures=["images.0", "given_control.0"]),
            tensors.update({"given_control.0": tensors["images.0"]}),
        ),
        "levels that are not listed": step(parts=["x", "denoised", "control"]),
        "bomb": tensor("images.0", bomb),
        "no picture": tensor("images.0", np.zeros(9, np.uint8)),
        "no bytes": tensor("images.0", np.zeros(9, np.float32)),
        "factors": tensor("factors", np.zeros((5, 4), np.float32)),
        "rank of factors": tensor("factors", np.zeros((), np.float32)),
        "type": tensor("steps.0.x", np.zeros((1, 4, 8, 8), np.float32)),
        "shape": tensor("steps.0.x", np.zeros((1, 4, 8, 9), np.float16)),
        "infinity": tensor("steps.0.x", np.full((1, 4, 8, 8), np.inf, np.float16)),
        "rank": tensor("steps.0.attention.cross.0", np.zeros((1, 64), np.uint8)),
        "scale": tensor("steps.0.attention.cross.0.scale", np.full((1, 1, 5), -1, np.float32)),
        "NaN": tensor("steps.0.attention.cross.0.scale", np.full((1, 1, 5), np.nan, np.float32)),
    }  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, each in inside:
        found.append((*at, key))
        if isinstance(each, (dict, list)):
            found += places(each, (*at, key))
    return found
