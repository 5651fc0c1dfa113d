"""Weights for networks that were built without memory: planned first, then read once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, Stopped
from ..memory import check_memory
from .layout import Layout, Weights
from .names import UNET, Source
from .recognise import family
from .weights import FLOATS, WeightFile, quoted

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A network to fill, built on the meta device, and where its weights are."""

    label: str  # "UNet"
    module: nn.Module
    weights: Weights


@dataclass(frozen=True)
class Plan:
    """Where each parameter comes from; nothing has been read yet."""

    part: Part
    places: dict[str, tuple[WeightFile, Source]]

    @property
    def used(self) -> set[tuple[Path, str]]:
        """The file and name of each tensor that is read, and of the scales of scaled weights."""
        used = {(file.path, source.name) for file, source in self.places.values()}
        for file, source in self.places.values():
            used |= {(file.path, name) for name in (scale_of(file, source.name),) if name}
        return used

    @property
    def numbers(self) -> int:
        """How many parameters the network has, counted by value."""
        return sum(tensor.numel() for tensor in self.part.module.state_dict().values())

    def stored_as(self) -> set[str]:
        return {file.entries[source.name].dtype for file, source in self.places.values()}


def plan(part: Part) -> Plan:
    """Find every parameter of the network in its files.

    Raises ``CheckpointError`` if a parameter is missing, has another shape, or is stored as
    integers. Names in the file are only compared with ours; they never become attributes or paths.
    """
    where = part.weights.files[0].path if part.weights.files else ""
    places: dict[str, tuple[WeightFile, Source]] = {}
    missing = []
    expected = {name: tuple(t.shape) for name, t in part.module.state_dict().items()}
    for name in expected:
        place = part.weights.place(name)
        if place is None:
            missing.append(next((each.name for each in part.weights.lookup(name)), name))
        else:
            places[name] = place
    if missing:
        shown = ", ".join(quoted(name) for name in missing[:5])
        raise CheckpointError(
            f"{where}: {len(missing)} of {len(expected)} tensors of the {part.label} are missing: "
            f"{shown}{', ...' if len(missing) > 5 else ''}.\n"
            "The file is incomplete or of another kind of model; nothing was loaded."
        )
    for name, (file, source) in places.items():
        _check_entry(part, name, expected[name], file, source)
        _check_scale(file, source.name)
    return Plan(part, places)


def fill(
    plan: Plan,
    dtype: torch.dtype,
    device: torch.device,
    *,
    check_finite: bool = True,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Read the weights into the network as ``dtype`` on ``device``, for inference.

    The network has no memory before. Each tensor is read once, into its final memory and layout,
    and becomes the parameter; only what is scaled or transposed is copied, one tensor at a time.
    Raises ``CheckpointError`` at NaN or infinity, and ``Stopped`` when ``stop()`` is true.
    """
    module = plan.part.module
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, (file, source) in plan.places.items():
        if stop is not None and stop():
            raise Stopped("Stopped while the model was loaded.")
        # That makes a step about a tenth faster on CPUs and GPUs: features get the same layout.
        channels_last = len(shapes[name]) == 4 and device.type in ("cpu", "cuda")
        tensor = read_place(file, source, dtype, shapes[name], channels_last)
        if check_finite and not is_finite(tensor):
            raise CheckpointError(_why_not_finite(file, source, dtype))
        state[name] = tensor.to(device)
    for file in {file.path: file for file, _ in plan.places.values()}.values():
        file.check_unchanged()
    module.load_state_dict(state, strict=True, assign=True)
    module.to(device)  # buffers that are not weights
    module.requires_grad_(False).eval()


def fill_all(
    plans: Sequence[Plan],
    label: str,
    dtype: torch.dtype,
    device: torch.device,
    *,
    check_finite: bool = True,
    make_room: Callable[[int, torch.device], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Read the weights into all networks, after ``make_room(bytes, device)``.

    Raises ``OutOfMemory``, which names ``label``, before anything is read; and what `fill` raises.
    """
    needed = sum(plan.numbers for plan in plans) * dtype.itemsize
    if make_room is not None:
        make_room(needed, device)
    check_memory(needed, device, label)
    for plan in plans:
        fill(plan, dtype, device, check_finite=check_finite, stop=stop)


def read_place(
    file: WeightFile,
    source: Source,
    dtype: torch.dtype,
    shape: torch.Size,
    channels_last: bool = False,
) -> Tensor:
    """Return a parameter of this shape on the CPU."""
    scale = scale_of(file, source.name)
    cpu, precise = torch.device("cpu"), dtype if scale is None else torch.float32
    layout = channels_last and len(file.entries[source.name].shape) == 4
    part, parts = (0, 1) if source.groups > 1 else (source.part, source.parts)
    tensor = file.read(source.name, precise, cpu, part=part, parts=parts, channels_last=layout)
    if source.groups > 1:
        rows = tensor.unflatten(0, (source.groups, source.parts, -1))
        tensor = rows[:, source.part].flatten(0, 1)
    if scale is not None:
        tensor = tensor.mul_(file.read(scale, precise, cpu).view(())).to(dtype)
    if source.transposed:
        tensor = tensor.t().contiguous()
    if tensor.shape != shape:  # a 1x1 convolution is a linear layer
        tensor = tensor.reshape(shape)
    return tensor


_SCALES = ("scale_weight", "weight_scale")
"""The last part of the names of scales, as ComfyUI writes them."""


def scale_of(file: WeightFile, name: str) -> str | None:
    """Return the name of the number by which a weight of a file is multiplied; None if by none.

    ComfyUI divides the weights of a layer by their largest value, before it stores them in 8 bits.
    """
    layer, dot, kind = name.rpartition(".")
    if kind != "weight":
        return None
    return next((f"{layer}{dot}{s}" for s in _SCALES if f"{layer}{dot}{s}" in file.entries), None)


def _check_scale(file: WeightFile, name: str) -> None:
    scale = scale_of(file, name)
    if scale is None:
        return
    entry = file.entries[scale]
    if entry.dtype not in FLOATS or math.prod(entry.shape) != 1:
        raise CheckpointError(
            f"{file.path}: the scale {quoted(scale)} is {entry.dtype} {list(entry.shape)}; a "
            "single number was expected.\nGet the model in float16, bfloat16 or float32."
        )


def extras(plans: Sequence[Plan]) -> list[str]:
    """Return the names of tensors in the files that belong to none of the networks.

    What is left of a file that only lent a part to the model is no news.
    """
    used = set().union(*(plan.used for plan in plans))
    own = [plan.part.weights for plan in plans if plan.part.weights.kind == "checkpoint"]
    files = {file.path: file for weights in own for file in weights.files}
    return [
        name for path, file in files.items() for name in file.entries if (path, name) not in used
    ]


def precision(name: str, plans: Sequence[Plan]) -> list[str]:
    """Return notices about weights that have fewer bits than they were stored with or should have.

    ``name`` is the name of the file or model.
    """
    stored = set().union(*(plan.stored_as() for plan in plans))
    notices = []
    if any(code.startswith("F8") for code in stored):
        notices.append(f"{name}: some weights have only 8 bits, so images are less exact.")
    if "F64" in stored:
        notices.append(f"{name}: float64 weights were converted to a smaller type.")
    return notices


# What training and other programs leave in files, and what no loader needs.
_LEFT_OVER = re.compile(
    r"(^|\.)(betas|alphas_cumprod(_prev)?|sqrt_\w+|log_one_minus_\w+|posterior_\w+|lvlb_weights"
    r"|logvar|position_ids|logit_scale|attn_mask|text_projection(\.weight)?|sigmas|v_pred"
    r"|scale_factor|to_logits\.(weight|bias))$"
    r"|^model_ema\.|^(first_stage_model\.)?loss\.|^embedding_manager\.|\.resblocks\.\d+\."
    r"|^depth_model\."  # it makes depth maps, which runs are given
    r"|(^|\.)(scaled_fp8|scale_(weight|input)|input_scale|comfy_quant|ztsnr)$|^denoiser\."
)


_AVERAGE = re.compile(r"model_ema\.(?!(decay|num_updates)$)")


def check_strays(layout: Layout, plans: Sequence[Plan]) -> None:
    """Raise ``CheckpointError`` if the network in a file has more than its config says.

    What nobody knows may change what it computes.
    """
    used = set().union(*(plan.used for plan in plans))
    strays = [
        name
        for file in layout.weights[0].files
        for name in file.entries
        if name.startswith(layout.strict)
        and (file.path, name) not in used
        and not _LEFT_OVER.search(name)
    ]
    if strays:
        raise CheckpointError(
            f"{layout.path}: the network of {layout.config.name} has no place for {len(strays):,} "
            f"of the tensors, such as {quoted(min(strays))}.\nIt is of another kind; nothing was "
            "loaded."
        )


def leftovers(name: str, unused: Sequence[str]) -> list[str]:
    """Return a line that counts the ``unused`` tensors of the files; [] if there are none.

    A moving average of the weights (EMA) is named, since other programs may take it in place of the
    weights.
    """
    if not unused:
        return []
    # Of the network itself, only what a moving average stands for may be left.
    usual = [each for each in unused if each.startswith(UNET) or _LEFT_OVER.search(each)]
    unknown = sorted({*unused} - {*usual})
    average = sum(bool(_AVERAGE.match(each)) for each in unused)
    also = f"; {average:,} are a moving average of its weights (EMA)" if average else ""
    count = f"{name}: {len(unused):,} tensors without a place in the model were left out"
    if not unknown:
        return [f"{count}, all of them usual ones (such as {quoted(min(unused))}){also}."]
    known = f", {len(unknown):,} of them unknown" if len(unknown) < len(unused) else ""
    return [f"{count}{known}, such as {quoted(min(unknown))}{also}."]


MOST_TENSORS = 10_000
"""The most tensors of a network. That of Stable Diffusion XL has 1,680."""


def check_count(label: str, count: int, weights: Weights) -> None:
    """Raise ``CheckpointError`` if a network of about ``count`` tensors cannot be in its files.

    A config of a few bytes can describe a network that takes minutes to build. This bounds it by
    its files before it is built. A few tensors that are missing are named later.
    """
    there = weights.count
    if count > MOST_TENSORS or count > 2 * there:
        raise CheckpointError(
            f"{weights.files[0].path} has {there:,} tensors; the {label} that its config describes "
            f"has more than {count:,}.\nThe config and the weights do not belong together."
        )


def _check_entry(part: Part, name: str, expected: Shape, file: WeightFile, source: Source) -> None:
    entry = file.entries[source.name]
    if entry.dtype not in FLOATS:
        raise CheckpointError(
            f"{file.path}: tensor {quoted(source.name)} is stored as {entry.dtype}; weights are "
            "floating-point numbers.\nGet the model in float16, bfloat16 or float32."
        )
    found, fits = entry.shape[::-1] if source.transposed else entry.shape, True
    if source.parts > 1:
        fits = bool(found) and found[0] % (source.parts * source.groups) == 0
        found = (found[0] // source.parts, *found[1:]) if fits else found
    # A 1x1 convolution and a linear layer have the same numbers.
    if not fits or _linear(found) != _linear(expected):
        raise CheckpointError(
            f"{file.path}: tensor {quoted(source.name)} of the {part.label} has the shape "
            f"{list(found)}; the model has {list(expected)}.{_looks_like(name, found, expected)}"
        )


def _linear(shape: Shape) -> Shape:
    return shape[:2] if shape[2:] in ((1, 1), (1,)) else shape


def _looks_like(name: str, found: Shape, expected: Shape) -> str:
    """Return a guess at the reason for a wrong shape, as a second line, or ""."""
    says_width = name.endswith("attn2.to_k.weight") or "token_embedding" in name
    if says_width and len(found) == 2 and found[1] != expected[1] and (guess := family(found[1])):
        return f"\nThe weights look like {guess}."
    if name == "conv_in.weight" and len(found) == 4 and found[1] == 9:
        return "\nThe weights look like an inpainting model's (9 input channels)."
    return ""


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinity."""
    # With a NaN, the extremes are NaN: this needs one pass and no second tensor.
    if not tensor.numel():
        return True
    if tensor.ndim == 4 and not tensor.is_contiguous():  # channels last: in the order of memory
        tensor = tensor.permute(0, 2, 3, 1)
    low, high = torch.aminmax(tensor)
    return math.isfinite(low.item()) and math.isfinite(high.item())


def _why_not_finite(file: WeightFile, source: Source, dtype: torch.dtype) -> str:
    stored = FLOATS[file.entries[source.name].dtype]
    tensor = file.read(
        source.name, torch.float64, torch.device("cpu")
    )  # can hold the values of all other types
    if is_finite(tensor):
        largest = tensor.abs().max().item()
        remedy = "Load the model with dtype='float32' or 'bfloat16'."
        if largest > torch.finfo(torch.bfloat16).max:
            remedy = "No network works with such values. Download it again."
        return (
            f"{file.path}: tensor {quoted(source.name)} has values up to {largest:.3g}, "
            f"too large for {dtype}.\n{remedy}"
        )
    return (
        f"{file.path}: tensor {quoted(source.name)} ({stored}) holds NaN or infinity; such a "
        "model makes black images.\nDownload it again, or pass check_finite=False."
    )
