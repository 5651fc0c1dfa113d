"""A network with some weights replaced, which shares all the others: for LoRA and its like."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from ..errors import InputError

M = TypeVar("M", bound=nn.Module)


def patched(module: M, weights: Mapping[str, Tensor]) -> M:
    """Return a copy of ``module`` with other ``weights``, by their names in its ``state_dict``.

    All other parameters and buffers are those of ``module`` itself, so that only the new weights
    take memory. ``module`` is unchanged. New weights get the type and device of those that they
    replace. Because weights are shared, neither module may be moved or trained in place.

    Raises ``InputError`` for a name that the module does not have, and for another shape.
    """
    found = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    shared: dict[int, object] = {id(tensor): tensor for tensor in found.values()}
    for name, new in weights.items():
        old = found.get(name)
        if old is None:
            raise InputError(f"There is no weight {name!r} to patch.", parameter="weights")
        if new.shape != old.shape:
            raise InputError(
                f"The weight {name!r} is {[*old.shape]}; its patch is {[*new.shape]}.",
                parameter="weights",
            )
        new = new.detach().to(old.device, old.dtype)
        is_parameter = isinstance(old, nn.Parameter)
        shared[id(old)] = nn.Parameter(new, requires_grad=False) if is_parameter else new
    # deepcopy takes objects in its memo as copied already: so weights, even tied, are not copied.
    return copy.deepcopy(module, shared)


def restored(module: M, patched_module: M, original: M) -> M:
    """Return ``module`` with the weights of ``original`` in place of those of a patched module.

    ``module`` was made from ``patched_module``, and that from ``original``. Weights of ``module``
    that are those of neither stay.
    """
    if module is patched_module:
        return original
    now, before, own = (
        dict(each.named_parameters(remove_duplicate=False))
        for each in (module, patched_module, original)
    )
    taken = {
        name: own[name]
        for name, weight in now.items()
        if weight is before.get(name) and name in own and weight is not own[name]
    }
    return patched(module, taken)
