"""A GPU that has failed for good: it is named, and not tried again.

The errors are texts that CUDA gives; a hook of the model raises them on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import sdwidgets
from sdwidgets import devices
from sdwidgets.configs import TINY
from sdwidgets.devices import check_device, is_lost, lost
from sdwidgets.errors import DeviceLost
from sdwidgets.manager import ModelManager, Request
from sdwidgets.memory import available_memory
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace

ASSERT = (
    "CUDA error: device-side assert triggered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1"
)
SETTINGS: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}
LIMIT = 120  # seconds


@pytest.fixture(autouse=True)
def _nothing_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_lost", {})


@pytest.fixture
def model(make_model: Callable[..., LatentDiffusion]) -> Iterator[LatentDiffusion]:
    yield make_model(TINY)


def fail(*_: Any) -> None:
    raise getattr(torch, "AcceleratorError", RuntimeError)(ASSERT)


@pytest.mark.parametrize(
    "text",
    [
        ASSERT,
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: unspecified launch failure",
        "CUDA error: misaligned address",
        "HIP error: device-side assert triggered",
        "cuBLAS failed: CUDA error: an illegal instruction was encountered",
    ],
)
def test_errors_after_which_nothing_runs_are_known(text: str) -> None:
    assert is_lost(RuntimeError(text))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        AssertionError("device-side assert triggered"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_not_among_them(error: BaseException) -> None:
    assert not is_lost(error)


@pytest.mark.parametrize("part", ["unet", "autoencoder", "text"])
def test_the_first_error_says_to_restart_and_the_next_run_is_refused(
    model: LatentDiffusion, part: str
) -> None:
    run = model.sample("a cat", **SETTINGS)
    module = {
        "unet": model.unet.conv_in,
        "autoencoder": model.autoencoder.post_quant_conv,
        "text": model.embedders[0].model,
    }[part]
    hook = module.register_forward_pre_hook(fail)
    with pytest.raises(DeviceLost, match="Restart the kernel") as caught:
        Trace.of(run)
    hook.remove()
    assert "device-side assert triggered" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3
    assert isinstance(caught.value, sdwidgets.SDWidgetsError)
    for call in (
        lambda: model.sample("a cat", **SETTINGS),
        lambda: model.condition(["a cat"]),
        lambda: available_memory(model.device),
    ):
        with pytest.raises(DeviceLost):
            call()


def test_a_run_that_had_begun_is_refused_too(model: LatentDiffusion) -> None:
    run = model.sample("a cat", **SETTINGS)
    next(run)
    lost(model.device, RuntimeError(ASSERT))
    with pytest.raises(DeviceLost):
        next(run)


def test_the_manager_says_so_and_goes_on_with_other_devices(model: LatentDiffusion) -> None:
    with ModelManager() as manager:
        manager.add(model, "mine")
        hook = model.unet.conv_in.register_forward_pre_hook(fail)
        request = Request("mine", Settings("a cat", **SETTINGS))
        with pytest.raises(DeviceLost):
            manager.submit(request).result(LIMIT)
        hook.remove()
        with pytest.raises(DeviceLost):
            manager.submit(request).result(LIMIT)


def test_a_gpu_without_its_number_is_the_first_one() -> None:
    lost(torch.device("cuda:0"), RuntimeError(ASSERT))
    with pytest.raises(DeviceLost):
        check_device(torch.device("cuda"))
    check_device(torch.device("cuda:1"))
    check_device(torch.device("cpu"))
