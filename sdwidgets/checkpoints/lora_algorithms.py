"""The ways in which LoRAs write a change of a weight in few numbers.

W' = W + strength * scale * change. ``change`` is the product of an `Algorithm` here. ``scale`` is
alpha / rank, or 1 without an alpha ("LoRA", Hu et al., arXiv 2106.09685, section 4.1).

Sources: convolutions and Tucker form, LoHa and LoKr: "Navigating Text-To-Image Customization:
From LyCORIS Fine-Tuning to Model Evaluation" (Yeh et al., arXiv 2309.14859, section 3), with the
layouts of KohakuBlueleaf/LyCORIS (``lycoris/modules``); LoHa is "FedPara" (Hyeon-Woo et al., arXiv
2108.06098, proposition 1). DoRA: Liu et al., arXiv 2402.09353, equation 5. IA3: Liu et al., arXiv
2205.05638, section 3.3. GLoRA: Chavan et al., arXiv 2306.07967, equation 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Tensors = Mapping[str, Tensor]


class Misfit(ValueError):
    """Tensors that do not belong together, in words that follow "it has"."""


@dataclass(frozen=True)
class Algorithm:
    """``needs``, ``may``: the kinds of tensors that it has and may have, by `lora_names.split`.

    ``shape(shapes, target)`` returns the shape of the change, perhaps with the dimensions after the
    first as one; it raises `Misfit`, so that nothing is multiplied that does not fit. ``rank``
    returns the rank, or None where alpha does not count. ``change(tensors, weight)`` returns the
    change of a float32 weight, in any shape with as many numbers in the same order.
    """

    title: str
    needs: tuple[str, ...]
    shape: Callable[[Shapes, Shape], Shape]
    change: Callable[[Tensors, Tensor], Tensor]
    rank: Callable[[Shapes], int | None] = lambda shapes: None
    may: tuple[str, ...] = ()
    parameter: str = "weight"


def tucker(core: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Return [out, in, *k] of a core [p, q, *k], up [p, out] and down [q, in]."""
    return torch.einsum("pq...,po,qi->oi...", core, up, down)


def is_fitting(found: Shape, target: Shape) -> bool:
    """Whether a change of the shape ``found`` has the numbers of a weight of shape ``target``.

    A linear layer and a convolution of 1 x 1 are alike.
    """
    if found == target or _bare(found) == _bare(target):
        return True
    return len(found) == 2 and found == (target[0], math.prod(target[1:]))


def _bare(shape: Shape) -> Shape:
    return shape[:2] if all(n == 1 for n in shape[2:]) else shape


def _product(up: Shape, down: Shape, what: str = "up and down") -> Shape:
    """Return the shape of up [out, r] times down [r, ...]."""
    up = _bare(up)
    if len(up) != 2 or len(down) < 2 or up[1] != down[0]:
        raise Misfit(f"{what} of shapes {[*up]} and {[*down]}")
    out, rank = up
    if rank > 2 * max(out, math.prod(down[1:])):  # more than full rank: only to take memory
        raise Misfit(f"a rank of {rank:,} for {out} x {math.prod(down[1:])}")
    return out, *down[1:]


def _core(core: Shape, up: Shape, down: Shape) -> Shape:
    """Return the shape of a Tucker product: core [p, q, *k], up [p, out], down [q, in]."""
    if len(core) < 2 or len(up) != 2 or len(down) != 2 or core[:2] != (up[0], down[0]):
        raise Misfit(f"a core of shape {[*core]} for {[*up]} and {[*down]}")
    shape = (up[1], down[1], *core[2:])
    if max(core[:2]) > 2 * max(shape[0], math.prod(shape[1:])):
        raise Misfit(f"a rank of {max(core[:2]):,} for {[*shape]}")
    return shape


def _matrix(tensor: Tensor) -> Tensor:
    return tensor.flatten(1)


# ------------------------------------------------------------------------------------ LoRA


def _lora_shape(shapes: Shapes, target: Shape) -> Shape:
    up, down = shapes["lora_up"], shapes["lora_down"]
    if "lora_mid" in shapes:
        up, down = _bare(up), _bare(down)
        return _core(shapes["lora_mid"], up[::-1], down)
    return _product(up, down)


def _lora(t: Tensors, weight: Tensor) -> Tensor:
    up, down = _matrix(t["lora_up"]), _matrix(t["lora_down"])
    if "lora_mid" in t:
        return tucker(t["lora_mid"], up.T, down)
    return up @ down


# ------------------------------------------------------------------------------------ LoHa


def _loha_shape(shapes: Shapes, target: Shape) -> Shape:
    halves = []
    for n in ("1", "2"):
        a, b = shapes[f"hada_w{n}_a"], shapes[f"hada_w{n}_b"]
        core = shapes.get(f"hada_t{n}")
        halves.append(_product(a, b) if core is None else _core(core, a, b))
    if halves[0] != halves[1]:
        raise Misfit(f"two factors of shapes {[*halves[0]]} and {[*halves[1]]}")
    return halves[0]


def _loha(t: Tensors, weight: Tensor) -> Tensor:
    def half(n: str) -> Tensor:
        a, b = t[f"hada_w{n}_a"], t[f"hada_w{n}_b"]
        core = t.get(f"hada_t{n}")
        return _matrix(a) @ _matrix(b) if core is None else tucker(core, a, b)

    return half("1") * half("2")


# ------------------------------------------------------------------------------------ LoKr


def _lokr_factor(shapes: Shapes, n: str) -> Shape:
    name = f"lokr_w{n}"
    if name in shapes:
        return shapes[name]
    a, b = shapes.get(f"{name}_a"), shapes.get(f"{name}_b")
    if a is None or b is None:
        raise Misfit(f"no whole factor {name}")
    if n == "2" and "lokr_t2" in shapes:
        return _core(shapes["lokr_t2"], a, b)
    return _product(a, b, f"{name}_a and {name}_b")


def _lokr_shape(shapes: Shapes, target: Shape) -> Shape:
    first, second = _bare(_lokr_factor(shapes, "1")), _lokr_factor(shapes, "2")
    if len(first) != 2 or len(second) < 2:
        raise Misfit(f"factors of shapes {[*first]} and {[*second]}")
    return first[0] * second[0], first[1] * second[1], *second[2:]


def _lokr_rank(shapes: Shapes) -> int | None:
    # with two whole factors there is no rank, and alpha does not count
    return next((shapes[b][0] for b in ("lokr_w1_b", "lokr_w2_b") if b in shapes), None)


def _lokr(t: Tensors, weight: Tensor) -> Tensor:
    def factor(n: str) -> Tensor:
        name = f"lokr_w{n}"
        if name in t:
            return t[name]
        if n == "2" and "lokr_t2" in t:
            return tucker(t["lokr_t2"], t[f"{name}_a"], t[f"{name}_b"])
        return t[f"{name}_a"] @ t[f"{name}_b"]

    first, second = factor("1"), factor("2")
    first = first.reshape(*first.shape[:2], *[1] * (second.ndim - 2))
    return torch.kron(first, second.contiguous())


# ----------------------------------------------------------------------------- all the others


def _same(name: str) -> Callable[[Shapes, Shape], Shape]:
    return lambda shapes, target: shapes[name]


def _whole(name: str) -> Callable[[Tensors, Tensor], Tensor]:
    return lambda t, weight: t[name]


def _ia3_shape(shapes: Shapes, target: Shape) -> Shape:
    if math.prod(shapes["weight"]) not in target[:2]:
        raise Misfit(f"a vector of shape {[*shapes['weight']]}")
    return target


def _ia3(t: Tensors, weight: Tensor) -> Tensor:
    vector = t["weight"].flatten()
    place = 1 if t["on_input"].item() else 0
    if vector.numel() != weight.shape[place]:
        raise Misfit(f"a vector of {vector.numel():,} numbers for {[*weight.shape]}")
    return weight * vector.reshape([-1 if i == place else 1 for i in range(weight.ndim)])


def _glora_shape(shapes: Shapes, target: Shape) -> Shape:
    width = target[1]
    inside = _bare(_product(shapes["a1"], shapes["a2"], "a1 and a2"))
    if inside != (width, width):
        raise Misfit(f"a1 and a2 for {inside[0]} inputs")
    if "bm" in shapes:
        return _core(shapes["bm"], _bare(shapes["b1"])[::-1], _bare(shapes["b2"]))
    return _product(shapes["b1"], shapes["b2"], "b1 and b2")


def _glora(t: Tensors, weight: Tensor) -> Tensor:
    b1, b2 = _matrix(t["b1"]), _matrix(t["b2"])
    added = tucker(t["bm"], b1.T, b2) if "bm" in t else b1 @ b2
    inside = _matrix(t["a1"]) @ _matrix(t["a2"])  # [in, in]
    return added.reshape(weight.shape) + torch.einsum("oi...,ij->oj...", weight, inside)


ALGORITHMS = (
    Algorithm(
        "LoRA",
        ("lora_up", "lora_down"),
        _lora_shape,
        _lora,
        lambda shapes: shapes["lora_down"][0],
        may=("lora_mid",),
    ),
    Algorithm(
        "LoHa",
        ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
        _loha_shape,
        _loha,
        lambda shapes: shapes["hada_w1_b"][0],
        may=("hada_t1", "hada_t2"),
    ),
    Algorithm(
        "LoKr",
        (),
        _lokr_shape,
        _lokr,
        _lokr_rank,
        may=(
            *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"),
            "lokr_t2",
        ),
    ),
    Algorithm(
        "GLoRA",
        ("a1", "a2", "b1", "b2"),
        _glora_shape,
        _glora,
        lambda shapes: shapes["a2"][0],
        may=("bm",),
    ),
    Algorithm("IA3", ("weight", "on_input"), _ia3_shape, _ia3),
    Algorithm("a full difference", ("diff",), _same("diff"), _whole("diff")),
    Algorithm("a norm's difference", ("w_norm",), _same("w_norm"), _whole("w_norm")),
    Algorithm("a bias's difference", ("diff_b",), _same("diff_b"), _whole("diff_b"),
              parameter="bias"),
    Algorithm("a norm's bias", ("b_norm",), _same("b_norm"), _whole("b_norm"), parameter="bias"),
)  # fmt: skip

MAGNITUDES = ("dora_scale", "magnitude")
"""DoRA's magnitudes, of LyCORIS and of PEFT."""

SCALING = ("alpha", "scalar", *MAGNITUDES)
"""What may go with the tensors of an algorithm that changes a weight."""


def algorithms_of(kinds: set[str]) -> tuple[Algorithm, ...]:
    """Return the algorithms of a module's tensors, at most one for each parameter.

    Raises `Misfit` if a tensor belongs to none of them, or two change the same parameter.
    """
    found = [
        each
        for each in ALGORITHMS
        if kinds.issuperset(each.needs) and (each.needs or kinds & set(each.may))
    ]
    known = {kind for each in found for kind in (*each.needs, *each.may)}
    scaled = any(each.parameter == "weight" for each in found)
    stray = kinds - known - set(SCALING if scaled else ())
    if stray or not found:
        raise Misfit(f"only some of an algorithm's tensors: {', '.join(sorted(kinds))}")
    if len({each.parameter for each in found}) < len(found):
        raise Misfit(f"two changes of a weight: {', '.join(each.title for each in found)}")
    return tuple(found)


def axis_of(kind: str, shape: Shape, target: Shape) -> int:
    """Return the dimension that DoRA's magnitudes belong to: outputs (0) or inputs (1).

    LyCORIS has [out, 1, ...] or [1, in, ...], PEFT (``magnitude``) always one for each output.
    Raises `Misfit` if they fit neither.
    """
    axis = 1 if kind == "dora_scale" and len(shape) > 1 and shape[0] == 1 < target[0] else 0
    count = math.prod(shape)
    if count != target[axis] or count not in shape:
        raise Misfit(f"DoRA's magnitudes of shape {[*shape]} for {[*target]}")
    return axis


def decomposed(weight: Tensor, change: Tensor, magnitudes: Tensor, axis: int) -> Tensor:
    """Return the change of a weight by DoRA: m * (W + change) / ||W + change|| - W.

    There is a magnitude, and a norm, for each index of the weight's dimension ``axis``.
    """
    changed = weight + change
    norms = changed.transpose(0, axis).flatten(1).norm(dim=1).clamp_min(1e-12)
    ratio = magnitudes.flatten() / norms
    return changed * ratio.reshape([-1 if i == axis else 1 for i in range(weight.ndim)]) - weight
