"""Settings of torch that the caller may have made, and that must not change a training.

Gradients, inference mode, autocast and the default device belong to the calling thread, so they are
set here and restored. The default type and deterministic algorithms belong to the whole process,
where other threads rely on them: they are not touched, and InputError names them if they are in the
way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import torch

from ..errors import InputError

_AUTOCAST = ("cpu", "cuda", "mps")
_DETERMINISTIC = ("deterministic implementation", "CUBLAS_WORKSPACE_CONFIG")


@contextmanager
def settled(*, gradients: bool = False) -> Iterator[None]:
    """Set torch, inside the block, to what all training code expects.

    Gradients are recorded only with ``gradients``. New tensors are on the CPU, nothing is cast.
    Raises InputError if the default type is not float32, and for an operation that torch refuses
    because the user has asked for deterministic algorithms.
    """
    if torch.get_default_dtype() != torch.float32:
        raise InputError(
            f"torch's default type is {torch.get_default_dtype()}, and training needs float32.\n"
            "Call torch.set_default_dtype(torch.float32) first."
        )
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        for kind in _AUTOCAST:
            if _is_autocast(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":  # a mode slows every call down: only if needed
            stack.enter_context(torch.device("cpu"))
        try:
            yield
            return
        except RuntimeError as error:
            problem = str(error)
            if not any(words in problem for words in _DETERMINISTIC):
                raise
    raise InputError(
        f"torch.use_deterministic_algorithms(True) is in the way:\n{problem.splitlines()[0]:.160}\n"
        "Switch it off, or pass warn_only=True: trainings are reproducible without it."
    )


def _is_autocast(kind: str) -> bool:
    with suppress(RuntimeError):  # a kind of device that this torch does not know
        return bool(torch.is_autocast_enabled(kind))
    return False


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Draw new weights, inside the block, from ``seed``.

    torch's generator for the CPU is restored afterwards. Those of GPUs are not touched:
    `torch.manual_seed` would set them, too.
    """
    before = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.default_generator.set_state(before)
