"""Whether there is room for a run in memory, and what is said where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .errors import OutOfMemory
from .memory import MPS_TENSOR, available_memory
from .settings import Settings, amount, largest_tensor, memory_needed, steering_memory

if TYPE_CHECKING:
    from .guiding import Guide
    from .pipeline import LatentDiffusion


def check_memory(
    model: LatentDiffusion,
    settings: Settings,
    size: tuple[int, int],
    words: int,
    controls: int,
    guide: Guide | None = None,
) -> None:
    """Raise OutOfMemory for a run whose pass at this size will not fit.

    A GPU reports when it is full, and the estimate, made for float32, may be off by a factor of
    two, so a run may try there. When main memory runs out, the system ends the process without any
    error.
    """
    asked = model.config, *size, settings.batch_size
    if (
        model.device.type == "mps"
        and (largest := largest_tensor(*asked, window=settings.window)) > MPS_TENSOR
    ):
        raise OutOfMemory(
            f"Apple's GPU takes no tensor above {amount(MPS_TENSOR)}; this run needs one of "
            f"{amount(largest)}.\n{_smaller(model, settings)}"
        )
    free = available_memory(model.device)
    needed = memory_needed(
        *asked, words=words, controls=controls, tiled=True, window=settings.window
    )
    if guide is not None:
        needed += _steering(model, settings, size, words, guide)
    margin = 4 if model.device.type == "cuda" else 1
    if free is not None and needed > margin * free:
        raise OutOfMemory(out_of_memory(model, settings, size, words, guide))


def _steering(
    model: LatentDiffusion, settings: Settings, size: tuple[int, int], words: int, guide: Guide
) -> int:
    through = bool(getattr(guide, "through", True))
    batch = settings.batch_size
    return steering_memory(model.config, *size, batch, words=words, through=through)


def _smaller(model: LatentDiffusion, settings: Settings) -> str:
    """What to try where a run is too large."""
    batch, factor = settings.batch_size, model.config.autoencoder.factor
    tries = []
    if settings.hires is not None:
        tries.append(f"a smaller hires than {settings.hires:g}")
    if batch > 1:
        tries.append(f"batch_size={batch // 2}")
    smaller = [max(side // 2 // factor * factor, factor) for side in settings.size]
    if settings.hires is None and smaller != [*settings.size]:
        tries.append(f"width={smaller[0]}, height={smaller[1]}")
    return f"Try {', or '.join(tries)}." if tries else "Free some memory, or use a smaller model."


def out_of_memory(
    model: LatentDiffusion,
    settings: Settings,
    size: tuple[int, int],
    words: int,
    guide: Guide | None = None,
) -> str:
    """The message where a pass at this size has run out of memory, or would."""
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    free = available_memory(model.device)
    batch, (width, height) = settings.batch_size, size
    needed = memory_needed(
        model.config, width, height, batch, words=words, tiled=True, window=settings.window
    )
    if guide is not None:
        needed += _steering(model, settings, size, words, guide)
    have = "" if free is None else f" of {amount(free)}"
    return (
        f"Out of memory on {model.device}: {batch} x {width} x {height} pixels "
        f"need about {amount(needed)}{have}.\n{_smaller(model, settings)}"
    )
