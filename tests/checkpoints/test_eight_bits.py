"""Weights in 8 bits, plain and scaled: every number is the one that was stored, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoint_files import SMALL, compvis_tensors, networks, save_tensors, write_tokenizer
from torch import Tensor

from sdwidgets.checkpoints import load_model, names
from sdwidgets.errors import CheckpointError

TYPES = [torch.float8_e4m3fn, torch.float8_e5m2]
UNET = "model.diffusion_model."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "tokenizer")
    return tmp_path


def weights_of(path: Path, **options: str) -> dict[str, Tensor]:
    """Return the loaded network's weights, by the names of the file."""
    model = load_model(path, config=SMALL, device="cpu", **options)  # type: ignore[arg-type]
    lookup = names.compvis_unet_names(SMALL.unet)
    return {lookup(name)[0].name: tensor for name, tensor in model.unet.state_dict().items()}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_plain(folder: Path, kind: torch.dtype, dtype: str) -> None:
    stored = {name: t.to(kind) for name, t in compvis_tensors(networks(), SMALL).items()}
    path = save_tensors(stored, folder / "model.safetensors")
    with pytest.warns(UserWarning, match="8 bits"):
        found = weights_of(path, dtype=dtype)
    for name, tensor in found.items():
        expected = stored[name].to(getattr(torch, dtype))
        assert torch.equal(tensor, expected.view(tensor.shape)), name


def scaled(kind: torch.dtype, ending: str) -> dict[str, Tensor]:
    """Return SMALL's file as ComfyUI scales it: the weights of layers, but not of norms."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in compvis_tensors(networks(), SMALL).items():
        is_layer = name.startswith(UNET) and name.endswith(".weight") and tensor.ndim == 2
        if not is_layer:
            tensors[name] = tensor
            continue
        scale = tensor.abs().max() / 400
        layer = name.removesuffix("weight")
        tensors[name] = (tensor / scale).to(kind)
        tensors[f"{layer}{ending}"] = scale
        tensors[f"{layer}scale_input"] = torch.tensor(1.5)
    tensors[f"{UNET}scaled_fp8"] = torch.zeros(2, dtype=kind)
    return tensors


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("ending", ["scale_weight", "weight_scale"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scaled(folder: Path, kind: torch.dtype, dtype: str, ending: str) -> None:
    stored = scaled(kind, ending)
    found = weights_of(save_tensors(stored, folder / "model.safetensors"), dtype=dtype)
    count = 0
    for name, tensor in found.items():
        exact = stored[name].to(torch.float32)
        scale = stored.get(name.removesuffix("weight") + ending)
        if scale is not None and name.endswith(".weight"):
            exact, count = exact * scale, count + 1
        assert torch.equal(tensor, exact.to(getattr(torch, dtype)).view(tensor.shape)), name
    assert count > 20


def test_scales_of_activations_and_the_mark_are_usual_leftovers(folder: Path) -> None:
    path = save_tensors(scaled(torch.float8_e4m3fn, "scale_weight"), folder / "model.safetensors")
    with pytest.warns(UserWarning) as caught:
        weights_of(path)
    assert any("all of them usual" in str(w.message) for w in caught)


def test_a_scale_that_is_no_number_is_refused(folder: Path) -> None:
    stored = scaled(torch.float8_e4m3fn, "scale_weight")
    name = next(name for name in stored if name.endswith("scale_weight"))
    path = save_tensors(stored | {name: torch.ones(3)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="a single number was expected"):
        weights_of(path)
