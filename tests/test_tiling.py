"""Decoding in tiles: nearly the same image, and a run that goes on where memory is short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sdwidgets.errors import OutOfMemory
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.run import IN_TILES
from sdwidgets.tiling import OVERLAP, SIDE, decode_in_tiles, needs_tiles

SETTINGS: dict[str, Any] = {"steps": 1, "seed": 1, "sampler": "euler"}


def enlarged(latents: Tensor) -> Tensor:
    """A decoder that looks at each cell alone."""
    return F.interpolate(latents[:, :3], scale_factor=2)


@pytest.mark.parametrize("size", [(40, 40), (33, 80), (8, 100), (SIDE, SIDE + 1), (5, 5), (57, 56)])
def test_a_decoder_that_looks_at_cells_alone_gives_the_same(size: tuple[int, int]) -> None:
    latents = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(0))
    assert needs_tiles(latents) == (max(size) > SIDE)
    seen: list[tuple[int, ...]] = []

    def decode(tile: Tensor) -> Tensor:
        seen.append(tuple(tile.shape[-2:]))
        return enlarged(tile)

    found = decode_in_tiles(decode, latents, 2)
    assert torch.allclose(found, enlarged(latents), atol=1e-6)
    assert all(max(shape) <= SIDE for shape in seen)


def test_neighbours_share_cells_and_none_is_decoded_for_nothing() -> None:
    latents = torch.zeros(1, 4, SIDE, 2 * SIDE - OVERLAP)
    seen: list[Tensor] = []
    decode_in_tiles(lambda tile: (seen.append(tile), enlarged(tile))[1], latents, 2)
    assert len(seen) == 2


def short_of_memory(model: LatentDiffusion, cells: int) -> Any:
    """A hook with which the decoder runs out of memory above that number of cells."""

    def hook(_: Any, args: tuple[Tensor, ...]) -> None:
        if args[0].shape[-1] * args[0].shape[-2] > cells:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")

    return model.autoencoder.decoder.register_forward_pre_hook(hook)


def test_a_run_whose_decoder_runs_out_of_memory_decodes_in_tiles_and_says_so(
    tiny_model: LatentDiffusion,
) -> None:
    size = {"width": 96, "height": 80}
    whole = tiny_model.generate("a cat", **size, **SETTINGS)
    hook = short_of_memory(tiny_model, SIDE**2)
    tiled = tiny_model.generate("a cat", **size, **SETTINGS)
    hook.remove()
    assert tiled.complete and tiled.image.size == (96, 80)
    assert IN_TILES in tiled.notices and IN_TILES not in whole.notices
    assert np.array_equal(tiled.steps[-1].x_next, whole.steps[-1].x_next)
    again = tiny_model.decode(whole.steps[-1].x_next, tiled=True)[0]
    assert again.tobytes() == tiled.image.tobytes()
    assert tiny_model.generate("a cat", **size, **SETTINGS).png() == whole.png()


@pytest.mark.parametrize("side", [16, 80])
def test_without_memory_for_a_tile_it_is_out_of_memory(
    tiny_model: LatentDiffusion, side: int
) -> None:
    hook = short_of_memory(tiny_model, 4)
    with pytest.raises(OutOfMemory) as caught:
        tiny_model.generate("a cat", width=side, height=side, **SETTINGS)
    hook.remove()
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, OutOfMemory)
