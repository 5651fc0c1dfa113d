"""Where memory is short: autoencoders in tiles, and runs that say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sdwidgets import memory, room
from sdwidgets.configs import SD1, SDXL, MaskedImageConfig
from sdwidgets.errors import OutOfMemory
from sdwidgets.lab.reconstruction import decode, encode
from sdwidgets.memory import asks_for_tiles
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.conditioning import Given, Held
from sdwidgets.models.images import MaskedImage
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.pixels import to_tensor
from sdwidgets.run import IN_TILES
from sdwidgets.settings import autoencoder_memory, memory_needed

SETTINGS: dict[str, Any] = {"steps": 1, "seed": 1, "sampler": "euler"}
WIDE: dict[str, Any] = {"width": 96, "height": 80}


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each use of an autoencoder was in tiles, so far."""
    used: list[bool] = []
    for name in ("encode", "decode"):
        whole = getattr(Autoencoder, name)

        def watched(self: Any, x: Tensor, *, tiled: bool = False, _whole: Any = whole) -> Any:
            used.append(tiled)
            return _whole(self, x, tiled=tiled)

        monkeypatch.setattr(Autoencoder, name, watched)
    return used


def free(monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    """Let that many bytes be free."""
    monkeypatch.setattr(memory, "available_memory", lambda device: size)


def alike(one: Image.Image, other: Image.Image) -> bool:
    """Whether two images differ by no more than the rounding to whole levels."""
    a, b = (np.asarray(image, dtype=int) for image in (one, other))
    return a.shape == b.shape and bool(abs(a - b).max() <= 1)


def picture(width: int, height: int) -> Image.Image:
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
    return Image.fromarray(ramp.astype(np.uint8))


def test_tiles_need_less_the_more_the_larger_the_image() -> None:
    for config in (SD1.autoencoder, SDXL.autoencoder):
        for side in (8, 64, 512, 1024, 4096):
            whole, tiled = (
                autoencoder_memory(config, side, side, tiled=tiled) for tiled in (False, True)
            )
            assert tiled <= whole
        assert tiled < whole / 8
    both = (memory_needed(SD1, 4096, 4096, tiled=tiled) for tiled in (False, True))
    assert next(both) == autoencoder_memory(SD1.autoencoder, 4096, 4096) > next(both)


def test_memory_asks_for_tiles_where_less_is_free_than_the_whole_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, weight = SD1.autoencoder, torch.zeros(1)
    needed = autoencoder_memory(config, 640, 512)
    for size, expected in ((needed, False), (needed - 1, True), (None, False)):
        free(monkeypatch, size)
        assert asks_for_tiles(config, 640, 512, weight) is expected
    free(monkeypatch, 0)
    assert not asks_for_tiles(config, 64, 8, weight)  # tiles would need as much
    free(monkeypatch, needed // 2)
    assert not asks_for_tiles(config, 640, 512, weight.half())


def test_a_run_in_little_memory_uses_tiles_for_the_same_image_and_says_so(
    tiny_model: LatentDiffusion, tiles: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**WIDE, **SETTINGS, "image": picture(96, 80), "strength": 1.0}
    assert tiny_model.preview_factors.any()  # fitted at their first use
    tiles.clear()
    whole = tiny_model.generate("a cat", **asked)
    assert tiles == [False, False] and IN_TILES not in whole.notices
    tiles.clear()
    free(monkeypatch, autoencoder_memory(tiny_model.config.autoencoder, 96, 80) - 1)
    tiled = tiny_model.generate("a cat", **asked)
    assert tiles == [True, True] and tiled.notices.count(IN_TILES) == 1
    assert alike(tiled.image, whole.image)


def test_a_small_image_gains_nothing_by_tiles(
    tiny_model: LatentDiffusion, tiles: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = out_of_memory(tiny_model)
    with pytest.raises(OutOfMemory):
        tiny_model.generate("a cat", width=16, height=16, **SETTINGS)
    hook.remove()
    assert tiles == [False]


def test_a_run_is_refused_by_what_it_needs_in_tiles(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole_only(config: Any, *asked: Any, tiled: bool = False, **more: Any) -> int:
        return 10 if tiled else 1000

    monkeypatch.setattr(room, "memory_needed", whole_only)
    monkeypatch.setattr(room, "available_memory", lambda device: 11)
    tiny_model.sample("a cat", **WIDE)
    monkeypatch.setattr(room, "available_memory", lambda device: 9)
    with pytest.raises(OutOfMemory, match="need about 10 bytes of 9 bytes"):
        tiny_model.sample("a cat", **WIDE)


def test_a_model_takes_tiles_by_itself_when_asked_and_not_when_refused(
    tiny_model: LatentDiffusion, tiles: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = tiny_model.encode(picture(128, 160))
    expected = tiny_model.decode(latents)[0]
    for size, tiled, used in ((0, None, True), (0, False, False), (None, True, True)):
        free(monkeypatch, size)
        tiles.clear()
        again = tiny_model.encode(picture(128, 160), tiled=tiled)
        assert torch.allclose(again, latents, atol=1e-4)
        assert alike(tiny_model.decode(latents, tiled=tiled)[0], expected)
        mean, std = tiny_model.posterior(picture(128, 160), tiled=tiled)
        assert torch.allclose(mean, latents, atol=1e-4) and std.min() > 0
        assert tiles == [used] * 3


def test_what_the_network_sees_is_encoded_in_tiles_too(
    tiny_model: LatentDiffusion, tiles: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = MaskedImage(MaskedImageConfig(), tiny_model.autoencoder)
    given = Given(None, (128, 160), image=Held(to_tensor(picture(128, 160))[0]))
    seen = embedder.embed([given]).concat
    model = replace(tiny_model, embedders=(embedder,))
    free(monkeypatch, 0)
    tiles.clear()
    found = model.condition([given]).concat
    assert tiles == [True] and not embedder.tiled
    assert seen is not None and found is not None and torch.allclose(found, seen, atol=1e-4)


def test_the_lab_uses_tiles_too(
    tiny_model: LatentDiffusion, tiles: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = to_tensor(picture(127, 160))
    whole = encode(tiny_model.autoencoder, pixels)
    assert tiles == [False, False]
    free(monkeypatch, 0)
    tiled = encode(tiny_model.autoencoder, pixels)
    assert tiles[2:] == [True, True]
    assert torch.allclose(tiled.rebuilt, whole.rebuilt, atol=1e-4)
    assert decode(tiny_model.autoencoder, whole.latents, (127, 160)).shape == (1, 3, 160, 127)


def out_of_memory(model: LatentDiffusion) -> Any:
    """A hook with which whole images run out of memory in the decoder, and tiles do not."""

    def hook(_: Any, args: tuple[Tensor, ...]) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")

    return model.autoencoder.decoder.register_forward_pre_hook(hook)


def test_a_run_whose_decoder_runs_out_of_memory_decodes_in_tiles_and_says_so(
    tiny_model: LatentDiffusion,
) -> None:
    whole = tiny_model.generate("a cat", **WIDE, **SETTINGS)
    hook = out_of_memory(tiny_model)
    tiled = tiny_model.generate("a cat", **WIDE, **SETTINGS)
    hook.remove()
    assert tiled.complete and tiled.image.size == (96, 80)
    assert IN_TILES in tiled.notices and IN_TILES not in whole.notices
    assert np.array_equal(tiled.steps[-1].x_next, whole.steps[-1].x_next)
    assert alike(tiled.image, whole.image)
    again = tiny_model.decode(whole.steps[-1].x_next, tiled=True)[0]
    assert again.tobytes() == tiled.image.tobytes()
    assert tiny_model.generate("a cat", **WIDE, **SETTINGS).png() == whole.png()


def test_without_memory_for_tiles_it_is_out_of_memory(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr("sdwidgets.models.autoencoder.in_tiles", full)
    hook = out_of_memory(tiny_model)
    with pytest.raises(OutOfMemory) as caught:
        tiny_model.generate("a cat", **WIDE, **SETTINGS)
    hook.remove()
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, OutOfMemory)


def test_apples_gpu_takes_tiles_where_the_scores_are_larger_than_a_tensor_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OnApple:
        device = torch.device("mps")

        def element_size(self) -> int:
            return 4

    free(monkeypatch, None)
    weight: Any = OnApple()
    assert not asks_for_tiles(SD1.autoencoder, 1024, 1024, weight)
    assert asks_for_tiles(SD1.autoencoder, 2048, 2048, weight)
