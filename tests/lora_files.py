"""LoRAs for tests: random factors for the modules of a model, in every spelling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from checkpoint_files import save_tensors
from torch import Tensor, nn

Factors = dict[str, Tensor]


def drawn(*shape: int, seed: int = 0, scale: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return scale * torch.randn(shape, generator=generator)


def pair(weight: Tensor, rank: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random (up, down) for a weight, convolutions as programs write them."""
    out, inputs, *kernel = weight.shape
    down = drawn(rank, inputs, *kernel, seed=seed)
    return drawn(out, rank, *[1] * len(kernel), seed=seed + 1), down


def product(up: Tensor, down: Tensor, like: Tensor) -> Tensor:
    return (up.flatten(1).double() @ down.flatten(1).double()).reshape(like.shape)


def attention_of(module: nn.Module) -> list[str]:
    """Return the paths of a UNet's projections of attention."""
    return [
        name.removesuffix(".weight")
        for name, weight in module.named_parameters()
        if weight.ndim == 2 and any(f".{step}." in name for step in ("to_q", "to_k", "to_v"))
    ]


def layers_of(module: nn.Module, *some: str) -> list[str]:
    """Return the paths of all linear layers and convolutions, or of those that contain ``some``."""
    return [
        name.removesuffix(".weight")
        for name, weight in module.named_parameters()
        if weight.ndim in (2, 4)
        and name.endswith(".weight")
        and "embedding." not in name.replace("time_embedding.", "").replace("add_embedding.", "")
        and (not some or any(part in name for part in some))
    ]


def named(
    module: nn.Module,
    paths: Iterable[str],
    spell: Callable[[str], tuple[str, str]],
    *,
    rank: int = 2,
    alpha: float | None = None,
) -> Factors:
    """Return factors for the layers; ``spell(path)`` returns the names of down and up."""
    tensors: Factors = {}
    for number, path in enumerate(paths):
        up, down = pair(module.get_submodule(path).weight, rank, seed=number)  # type: ignore[arg-type]
        names = spell(path)
        tensors[names[0]], tensors[names[1]] = down, up
        if alpha is not None:
            tensors[names[0].rsplit(".lora_down", 1)[0] + ".alpha"] = torch.tensor(alpha)
    return tensors


def kohya(prefix: str) -> Callable[[str], tuple[str, str]]:
    def spell(path: str) -> tuple[str, str]:
        module = prefix + path.replace(".", "_")
        return f"{module}.lora_down.weight", f"{module}.lora_up.weight"

    return spell


def is_merged(new: nn.Module, old: nn.Module, changes: Mapping[str, Tensor]) -> bool:
    """Whether each weight is the old one plus its change, and all others are the old ones' own."""
    before = dict(old.named_parameters())
    for name, weight in new.named_parameters():
        path = name.removesuffix(".weight")
        if name.endswith(".weight") and path in changes:
            expected = before[name].double() + changes[path]
            worst = (weight.double() - expected).abs().max().item()
            if not math.isclose(worst, 0, abs_tol=1e-6 * expected.abs().max().item()):
                return False
        elif weight is not before[name]:
            return False
    return True


def write(tensors: Mapping[str, Tensor], path: Path, **metadata: str) -> Path:
    return save_tensors(tensors, path, **metadata)
