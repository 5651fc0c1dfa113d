"""Results of the lab as the page reads them: numbers, bytes, and image files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..trace.images import encode_jpeg, encode_png

if TYPE_CHECKING:
    from ..lab.between import Between
    from ..lab.edited import Edited
    from ..lab.forward import Diffused
    from ..lab.latents import CodeMap, Latents
    from ..lab.original import Original
    from ..lab.receptive_field import ReceptiveField
    from ..lab.reconstruction import Reconstruction
    from ..lab.samples import Sample

THUMBNAIL = 64  # pixels along the longer side
LARGEST_PNG = 100_000  # bytes; larger images go as JPEG


def original(value: Original | None, _: Any = None) -> dict[str, Any]:
    if value is None:
        return {}
    width, height = value.image.size
    return {
        "name": value.name,
        "width": width,
        "height": height,
        "data": file_of(value.image),
        "notices": list(value.notices),
    }


def results(value: tuple[Reconstruction, ...], _: Any = None) -> list[dict[str, Any]]:
    return [_result(one) for one in value]


def _result(one: Reconstruction) -> dict[str, Any]:
    error = np.nan_to_num(one.error)
    largest = max(float(error.max()), 1e-6)
    return {
        "name": one.name,
        "data": file_of(one.image),
        "error": (error / largest * 255).round().astype(np.uint8).tobytes(),
        "error_max": largest,
        "psnr": _finite(one.psnr),
        "ssim": _finite(one.ssim),
        "perceptual": _finite(one.perceptual),
        "bits": _finite(one.bits),
        "seconds": one.seconds,
        "padded": list(one.padded) if one.padded else None,
        "notices": list(one.notices),
    }


def latents(value: Latents | None, _: Any = None) -> dict[str, Any]:
    if value is None:
        return {}
    channels, height, width = value.mean.shape
    return {
        "name": value.name,
        "channels": channels,
        "width": width,
        "height": height,
        "mean": _half(value.mean),
        "std": None if value.std is None else _half(value.std),
        "sample": _half(value.sample),
        "sample_data": file_of(value.sample_image),
        "stats": [
            {name: _finite(number) for name, number in one._asdict().items()}
            for one in value.statistics
        ],
        "codes": None if value.codes is None else _codes(value.codes),
    }


def _codes(codes: CodeMap) -> dict[str, Any]:
    return {
        "count": codes.count,
        "indices": np.minimum(codes.indices, 2**16 - 1).astype("<u2").tobytes(),
        "used": codes.used,
        "perplexity": _finite(codes.perplexity),
        "colours": codes.colours.tobytes(),
    }


def edited(value: Edited | None, _: Any = None) -> dict[str, Any]:
    if value is None:
        return {}
    channels, height, width = value.latents.shape
    shares = value.directions.shares if value.directions is not None else ()
    return {
        "name": value.name,
        "data": file_of(value.image),
        "channels": channels,
        "width": width,
        "height": height,
        "latents": _half(value.latents),
        "psnr": _finite(value.psnr),
        "edits": list(value.edits),
        "applied": [_brief(edit.as_json()) for edit in value.history.now],
        "undone": len(value.history.future),
        "undoable": len(value.history.past),
        "directions": [{"share": share} for share in shares],
    }


def _brief(edit: dict[str, Any]) -> dict[str, Any]:
    """An edit without its cells: there may be thousands, and the page does not need them."""
    return {name: value for name, value in edit.items() if name != "cells"}


def touch(value: ReceptiveField | None, _: Any = None) -> dict[str, Any]:
    if value is None:
        return {}
    height, width = value.heat.shape
    return {
        "of": value.of,
        "x": value.x,
        "y": value.y,
        "width": width,
        "height": height,
        "data": value.heat.tobytes(),
        "share": value.share,
    }


def between(value: Between | None, _: Any = None) -> dict[str, Any]:
    if value is None:
        return {}
    width, height = value.frames[0].latent.size
    return {
        "name": value.name,
        "steps": len(value.frames),
        "width": width,
        "height": height,
        "latent": [encode_jpeg(frame.latent) for frame in value.frames],
        "pixel": [encode_jpeg(frame.pixel) for frame in value.frames],
    }


def noise(value: Diffused | None, _: Any = None) -> dict[str, Any]:
    if value is None:
        return {}
    height, width, _rgb = value.levels[0].latents.shape
    return {
        "model": value.model,
        "prompt": value.prompt,
        "width": width,
        "height": height,
        "steps": [
            {
                "t": level.t,
                "sigma": level.sigma,
                "snr_db": level.snr_db,
                "latents": level.latents.tobytes(),
                "noisy": encode_jpeg(level.noisy, quality=80),
                "guess": encode_jpeg(level.guess),
            }
            for level in value.levels
        ],
    }


def sample(value: Sample) -> dict[str, Any]:
    return {"name": value.name, "caption": value.caption, "data": _thumbnail(value.path)}


def _thumbnail(path: Path) -> bytes:
    """The PNG file of an image, small."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return encode_png(image)


def file_of(image: Image.Image) -> bytes:
    """The PNG file of an image, or its JPEG file where the PNG would be large."""
    data = encode_png(image)
    return data if len(data) <= LARGEST_PNG else encode_jpeg(image)


def _half(values: np.ndarray) -> bytes:
    return np.clip(np.nan_to_num(values), -65504, 65504).astype("<f2").tobytes()


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
