"""LoRAs: files with small changes of weights, applied to the networks of a model.

Everything is checked before a weight is read: that each module of the file has a place in the
model, and that the shapes fit. Then each weight is made once, in float32, from the model's own and
the changes of all LoRAs together, so that several LoRAs round as little as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, Stopped
from ..loras import Lora
from ..memory import check_memory
from ..models.patched import patched
from ..models.unet import UNet
from ..sources import Source, hashed
from . import few_steps
from .few_steps import FewSteps
from .fill import is_finite
from .lora_algorithms import Misfit, decomposed
from .lora_files import Change, Fitted, Networks, Weights, fitted, naming
from .target import loaded
from .weights import quoted

_CPU = torch.device("cpu")


QUICK = 2**30
"""Bytes of LoRAs that are hashed when they are applied: as quick as to read them."""


@dataclass(frozen=True)
class Applied:
    """Networks with LoRAs, the LoRAs as they were applied, and what records say of them."""

    unet: UNet
    texts: tuple[nn.Module, ...]
    loras: tuple[Lora, ...]
    sources: tuple[Source, ...]
    notices: tuple[str, ...]
    few_steps: FewSteps | None = None  # for which the last of them that is made for few steps is


def check_loras(networks: Networks, loras: Sequence[Lora]) -> None:
    """Raise what `apply_loras` would, before any weight is read; networks may be without memory."""
    if loras:
        loaded(loras[0].path, _CPU, lambda stack: [fitted(each, networks, stack) for each in loras])


def apply_loras(
    networks: Networks,
    loras: Sequence[Lora],
    *,
    make_room: Callable[[int, torch.device], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Applied:
    """Return copies of the networks with all the LoRAs, which share every weight that none changes.

    Raises ``CheckpointNotFound`` or ``CheckpointError`` if a file is no LoRA for these networks, or
    is another than when it was applied before; ``OutOfMemory`` after ``make_room(bytes, device)``;
    and ``Stopped`` when ``stop()`` is true.
    """
    device = next(networks.unet.parameters()).device

    def assemble(stack: ExitStack) -> Applied:
        found = [fitted(each, networks, stack) for each in loras]
        parameters = networks.parameters
        touched = {
            (part, name)
            for each in found
            for part, name in each.changes
            if each.lora.strengths[part > 0]
        }
        _check_room(touched, parameters, device, make_room)
        new: list[dict[str, Tensor]] = [{} for _ in networks.all]
        for part, name in sorted(touched):
            if stop is not None and stop():
                raise Stopped("Stopped while a LoRA was applied.")
            new[part][name] = _merged(parameters[part][name], found, part, name)
        for each in found:
            each.file.check_unchanged()
        texts = zip(networks.texts, new[1:], strict=True)
        few = [(each, made) for each in found if (made := _few_steps(each, networks))]
        return Applied(
            patched(networks.unet, new[0]),
            tuple(patched(module, weights) for module, weights in texts),
            tuple(replace(each.lora, file=each.file.stamp) for each in found),
            hashed([each.source for each in found], QUICK),  # all of it was just read
            (
                *(_about_words(each) for each in found if each.words),
                *(made.notice(each.source.name) for each, made in few[-1:]),
            ),
            few[-1][1] if few else None,
        )

    return loaded(loras[0].path, device, assemble)


def _check_room(
    touched: set[tuple[int, str]],
    parameters: Sequence[Mapping[str, Tensor]],
    device: torch.device,
    make_room: Callable[[int, torch.device], None] | None,
) -> None:
    weights = [parameters[part][name] for part, name in touched]
    needed = sum(weight.numel() * weight.element_size() for weight in weights)
    needed += 4 * 4 * max((weight.numel() for weight in weights), default=0)  # one, in float32
    if make_room is not None:
        make_room(needed, device)
    check_memory(needed, device, "Applying the LoRAs")


def _merged(weight: Tensor, found: Sequence[Fitted], part: int, name: str) -> Tensor:
    """Return the weight with the changes of all files, in its own type and memory format."""
    own, total = weight.detach().float(), None
    for each in found:
        change, strength = each.changes.get((part, name)), each.lora.strengths[part > 0]
        if change is not None and strength:
            with naming(each.lora):
                product, scale = _change(each.file, change, own)
            factor = strength * scale
            if total is None:
                total = torch.add(own, product, alpha=factor)
            else:
                total.add_(product, alpha=factor)
    merged = own if total is None else total
    if (merged.dtype, merged.stride()) != (weight.dtype, weight.stride()):
        merged = torch.empty_like(weight, requires_grad=False).copy_(merged)
    if not is_finite(merged):
        files = ", ".join(each.file.path.name for each in found if (part, name) in each.changes)
        raise CheckpointError(
            f"{files}: the weight {quoted(name)} becomes too large for {weight.dtype}.\n"
            "Use a smaller strength, or load the model with dtype='float32' or 'bfloat16'."
        )
    return merged


def _change(file: Weights, change: Change, weight: Tensor) -> tuple[Tensor, float]:
    """Return a file's change of a float32 weight, and a factor that it still has to be given."""
    tensors = {kind: _read(file, name, weight.device) for kind, name in change.tensors.items()}
    try:
        product = change.algorithm.change(tensors, weight).reshape(weight.shape)
    except Misfit as error:
        raise CheckpointError(f"{file.path}: it has {error}.\nNothing was applied.") from None
    if not change.magnitudes:
        return product, change.scale
    magnitudes = _read(file, change.magnitudes, weight.device)
    return decomposed(weight, product * change.scale, magnitudes, change.axis), 1.0


def _read(file: Weights, name: str, device: torch.device) -> Tensor:
    tensor = file.read(name, torch.float32, device)
    if not is_finite(tensor):
        raise CheckpointError(
            f"{file.path}: tensor {quoted(name)} holds NaN or infinity.\nDownload it again."
        )
    return tensor


def _few_steps(found: Fitted, networks: Networks) -> FewSteps | None:
    """What a LoRA that acts is made for."""
    if found.lora.strength <= 0:
        return None
    return few_steps.of_addition(found.lora.path, found.file.metadata, networks.unet_config)


def _about_words(found: Fitted) -> str:
    shown = ", ".join(quoted(word, 40) for word in found.words[:3])
    more = f" and {len(found.words) - 3} more" if len(found.words) > 3 else ""
    return (
        f"{found.file.path.name} also holds learnt words ({shown}{more}), which a LoRA does not "
        "apply; embeddings=[FILE] of sdwidgets.load does."
    )
