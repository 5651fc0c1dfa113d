"""Images as other programs write them, with made-up settings in their formats."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

A1111 = (
    "a (cat:1.2) in a hat <lora:detail:0.8>,\nphoto\n"
    "Negative prompt: a dog, bad,\nblurry\n"
    "Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 123, Size: 512x768, "
    'Model hash: 0123456789, Model: anything-v3, Lora hashes: "detail: 12ab, other: 34cd", '
    "Version: v1.6.0"
)


def png(**texts: str) -> bytes:
    """A PNG with these texts; "__" in a keyword stands for "-"."""
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_itxt(name.replace("__", "-"), text)
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "png", pnginfo=info)
    return file.getvalue()


def late_png(name: str, text: str) -> bytes:
    """A PNG whose text follows its pixels."""
    data = png()
    body = b"tEXt" + name.encode() + b"\0" + text.encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    end = data.rindex(b"IEND") - 4
    return data[:end] + chunk + data[end:]


def exif_image(format: str, comment: bytes | None = None, **tags: str) -> bytes:
    """A JPEG or WebP with an Exif comment and tags (Make, Model)."""
    exif = Image.Exif()
    if comment is not None:
        exif.get_ifd(0x8769)[0x9286] = comment
    for name, text in tags.items():
        exif[{"Make": 0x010F, "Model": 0x0110}[name]] = text
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format, exif=exif.tobytes())
    return file.getvalue()


def stealth_png(text: str, *, packed: bool) -> bytes:
    """A PNG with a text in the lowest bits of its transparency."""
    body = gzip.compress(text.encode()) if packed else text.encode()
    name = b"stealth_pngcomp" if packed else b"stealth_pnginfo"
    bits = np.unpackbits(
        np.frombuffer(name + struct.pack(">I", 8 * len(body)) + body, dtype=np.uint8)
    )
    side = int(np.ceil(np.sqrt(len(bits)))) + 1
    alpha = np.full(side * side, 254, dtype=np.uint8)
    alpha[: len(bits)] |= bits
    pixels = np.zeros((side, side, 4), dtype=np.uint8)
    pixels[..., 3] = alpha.reshape(side, side).T
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def graph(**changes: Any) -> dict[str, Any]:
    """The graph of ComfyUI's own example, with a LoRA and CLIP skip."""
    nodes = {
        "3": node(
            "KSampler", seed=7, steps=25, cfg=6.5, sampler_name="euler_ancestral",
            scheduler="karras", denoise=1, model=["9", 0], positive=["6", 0], negative=["7", 0],
            latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="folder\\v1-5.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=640, batch_size=2),
        "6": node("CLIPTextEncode", text="a cat", clip=["10", 0]),
        "7": node("CLIPTextEncode", text="a dog", clip=["10", 0]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node(
            "LoraLoader", lora_name="detail.safetensors", strength_model=0.7, strength_clip=1.0,
            model=["4", 0], clip=["4", 1],
        ),
        "10": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["9", 1]),
        "11": node("SaveImage", images=["8", 0], filename_prefix="ComfyUI"),
    }  # fmt: skip
    return {**nodes, **changes}


def comfyui(**changes: Any) -> bytes:
    return png(prompt=json.dumps(graph(**changes)))
