"""What loading takes beside the weights: a block that is converted, and never a whole tensor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import SMALL, compvis_tensors, networks, save_tensors, write_tokenizer
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from sdwidgets.checkpoints import load_model, weights

BLOCK = 8192  # bytes; the noise levels of a schedule take as many, the largest tensor 25 to 50 kB


class Allocations(TorchDispatchMode):
    """Collects every piece of memory that torch allocates."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[tuple[StorageWeakRef, int]] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = op(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                storage = tensor.untyped_storage()
                self.pieces.append((StorageWeakRef(storage), storage.nbytes()))
        return result

    def temporary(self) -> list[int]:
        """The bytes of each piece that is gone."""
        return [size for piece, size in self.pieces if piece.expired()]


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (torch.float16, "float32"),
        (torch.float32, "bfloat16"),
        (torch.float8_e4m3fn, "float32"),
        (torch.float32, "float32"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_only_a_block_is_in_memory_twice(
    stored: torch.dtype, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    tensors = {n: t.to(stored) for n, t in compvis_tensors(networks(), SMALL).items()}
    path = save_tensors(tensors, tmp_path / "model.safetensors")
    monkeypatch.setattr(weights, "BLOCK", BLOCK)
    with Allocations() as allocations:
        model = load_model(path, config=SMALL, dtype=wanted, device="cpu")
    parts = (model.unet, model.autoencoder, model.text.model)
    kept = [tensor for part in parts for tensor in part.state_dict().values()]
    largest = max(t.nbytes for t in kept)
    row = max(math.prod(t.shape[1:]) for t in tensors.values()) * stored.itemsize
    assert largest > 3 * max(BLOCK, row)
    assert max(allocations.temporary()) <= max(BLOCK, row)
