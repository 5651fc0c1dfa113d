"""Images on larger canvases: their layout, the pixels under the new area, the masks, and runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_families import picture

from sdwidgets.configs import (
    TINY,
    DepthConfig,
    ImageConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
)
from sdwidgets.errors import InputError
from sdwidgets.outpainting import OVERLAP, Layout, blended, canvas, laid_out, new_area
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Trace, read_record, read_settings

Make = Callable[[ModelConfig], LatentDiffusion]
SETTINGS: dict[str, Any] = {"steps": 4, "seed": 1, "sampler": "euler"}
FACTOR = TINY.autoencoder.factor


def told(embedder: Any, **unet: Any) -> ModelConfig:
    """Return TINY with a further embedder, and a network that takes what it makes."""
    config = replace(TINY, embedders=(*TINY.embedders, embedder))
    unet = {"in_channels": 4 + config.concat_width, **unet}
    return replace(config, unet=replace(TINY.unet, **unet))


MASKED = told(MaskedImageConfig())
DEPTH = told(DepthConfig())
EDITS = told(ImageConfig())
ENLARGES = told(LowResolutionConfig(), classes=1000)

# -- canvases ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "pad", "wanted"),
    [
        ((512, 512), (0, 0, 128, 0), (0, 0, 128, 0)),
        ((500, 512), (0, 0, 128, 0), (0, 0, 132, 0)),
        ((500, 512), (128, 0, 0, 0), (132, 0, 0, 0)),
        ((500, 512), (64, 0, 64, 0), (64, 0, 68, 0)),
        ((512, 500), (64, 0, 0, 0), (64, 0, 0, 4)),  # nothing is padded there: at the bottom
        ((512, 500), (0, 1, 0, 0), (0, 4, 0, 0)),
    ],
)
def test_an_image_keeps_its_size_and_the_canvas_is_rounded_up(size, pad, wanted) -> None:
    layout = laid_out(size, pad, factor=8)
    assert layout == Layout(size, wanted)
    assert not any(side % 8 for side in layout.canvas)
    # a layout made again from its own canvas is the same
    assert laid_out(layout.size, layout.pad, *layout.canvas, factor=8) == layout


def test_a_given_canvas_leaves_the_rest_to_the_image() -> None:
    assert laid_out((900, 300), (64, 8, 64, 0), 512, 256, factor=8) == Layout(
        (384, 248), (64, 8, 64, 0)
    )


def test_a_given_side_of_the_canvas_keeps_the_images_shape() -> None:
    assert laid_out((900, 300), (64, 0, 0, 0), 512, factor=8).size == (448, 149)
    assert laid_out((900, 300), (64, 0, 0, 0), 512, factor=8).canvas == (512, 152)
    assert laid_out((900, 300), (0, 0, 64, 56), height=256, factor=8).size == (600, 200)


def test_a_pad_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(InputError, match="takes 128 pixels of a width of 128") as caught:
        laid_out((64, 64), (64, 0, 64, 0), 128, 128, factor=8)
    assert caught.value.parameter == "pad"


def test_edges_are_continued_and_the_image_is_kept() -> None:
    image = picture(12, 9)
    large = np.asarray(canvas(image, (3, 2, 5, 0)))
    inside = np.asarray(image)
    assert large.shape == (11, 20, 3)
    assert np.array_equal(large[2:, 3:15], inside)
    assert np.array_equal(large[:2, 3:15], np.stack([inside[0]] * 2))
    assert (large[2:, :3] == inside[:, :1]).all() and (large[2:, 15:] == inside[:, -1:]).all()


def test_the_mask_is_the_new_area_and_the_given_mask() -> None:
    own = Image.new("L", (8, 6))
    own.putpixel((2, 3), 255)
    mask = np.asarray(new_area((8, 6), (4, 0, 0, 1), own))
    assert mask.shape == (7, 12)
    assert (mask[:, :4] == 255).all() and (mask[6] == 255).all()
    assert mask[3, 6] == 255 and mask[:6, 4:].sum() == 255


def test_the_seam_falls_smoothly_from_the_new_area_into_the_image() -> None:
    mask = np.asarray(blended((64, 48), (0, 0, 16, 0), overlap=16)).astype(int)
    row = mask[0]
    assert (mask == row).all()
    assert (row[64:] == 255).all() and (row[:48] == 0).all()
    falls = row[48:64]
    assert (np.diff(falls) > 0).all() and falls[0] <= 1 and 252 <= falls[-1] < 255
    assert np.abs(np.diff(row)).max() < 255 * 0.11  # no hard edge


def test_the_seam_takes_a_quarter_of_a_small_image_at_most() -> None:
    mask = np.asarray(blended((16, 16), (8, 8, 8, 8), overlap=32))
    assert (mask[12:20, 12:20] == 0).all()
    assert (mask[8:24, 8:24] > 0).sum() == 16 * 16 - 8 * 8


def test_a_given_mask_and_corners_have_the_highest_value() -> None:
    own = Image.new("L", (64, 64))
    own.paste(255, (20, 20, 30, 30))
    mask = np.asarray(blended((64, 64), (8, 8, 0, 0), own, overlap=16))
    assert (mask[28:38, 28:38] == 255).all()
    assert mask[8, 40] == mask[40, 8] == mask[8, 8] > 250
    assert mask[71, 71] == 0


# -- runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, MASKED], ids=["blending", "a network that sees the mask"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_pixels_beyond_the_seam_are_kept_exactly(
    make_model: Make, config: ModelConfig, strength: float
) -> None:
    image = picture(64, 48)
    trace = make_model(config).generate(
        "a cat", image=image, pad=(0, 0, 16, 8), strength=strength, **SETTINGS
    )
    seam = OVERLAP * FACTOR
    made, kept = np.asarray(trace.image), np.asarray(image)
    assert (trace.task, trace.image.size) == ("outpainting", (80, 56))
    assert trace.settings.pad == (0, 0, 16, 8) and trace.settings.size == (80, 56)
    assert np.array_equal(made[: 48 - seam, : 64 - seam], kept[: 48 - seam, : 64 - seam])
    assert not np.array_equal(made[:48, 64 - seam : 64], kept[:, 64 - seam :])
    continued = np.asarray(canvas(image, (0, 0, 16, 8)))
    assert not np.array_equal(made[:, 64:], continued[:, 64:])


def test_a_seam_is_smooth_where_the_new_area_is_another(make_model: Make) -> None:
    """The change from the image falls from the border on, with no step in it."""
    image = Image.new("RGB", (64, 32), (250, 250, 250))
    model = make_model(TINY)
    trace = model.generate("a cat", image=image, pad=(0, 0, 32, 0), strength=1.0, **SETTINGS)
    change = np.abs(np.asarray(trace.image, float) - 250).mean((0, 2))
    seam = slice(64 - OVERLAP * FACTOR, 64)
    new = change[64:].mean()
    assert new > 20  # the network knows nothing of white
    weight = np.asarray(blended((64, 32), (0, 0, 32, 0), overlap=OVERLAP * FACTOR))[0] / 255
    assert (change[: seam.start] == 0).all()
    assert (change[seam] <= 255 * weight[seam] + 0.5).all()
    assert change[seam.start] < 0.1 * new


def test_the_seam_of_latents_is_known_first_and_repainted_later(make_model: Make) -> None:
    model = make_model(TINY)
    image = Image.new("RGB", (32, 16), (200, 30, 90))
    run = model.sample("a cat", image=image, pad=(0, 0, 16, 0), strength=1.0, **SETTINGS)
    steps = list(run)
    known = steps[0].denoised[..., :10]
    # at each step, the columns that are denoised to something else than before
    repainted = [
        int((step.denoised[..., :16] != steps[0].denoised[..., :16]).any(2).any(1)[0].sum())
        for step in steps[1:]
    ]
    assert repainted == sorted(repainted) and repainted[-1] > repainted[0]
    assert all(torch.equal(step.denoised[..., :10], known) for step in steps)


def test_an_inpainting_network_sees_all_of_the_image(make_model: Make) -> None:
    model = make_model(MASKED)
    seen: list[torch.Tensor] = []
    model.unet.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    list(model.sample("a cat", image=picture(32, 16), pad=(8, 0, 0, 0), **SETTINGS))
    white = torch.zeros(8, 20)
    white[:, :4] = 1
    assert all((x[:, 4] == white).all() for x in seen)


def test_a_mask_beside_the_pad_is_repainted_too(make_model: Make) -> None:
    image, mask = picture(48, 32), Image.new("L", (48, 32))
    mask.paste(255, (4, 4, 12, 12))
    trace = make_model(TINY).generate(
        "a cat", image=image, mask=mask, pad=(0, 0, 16, 0), **SETTINGS
    )
    made, kept = np.asarray(trace.image)[:, :48], np.asarray(image)
    changed = (made != kept).any(-1)
    assert changed[4:12, 4:12].mean() > 0.9
    assert not changed[:, :4].any() and not changed[16:, :36].any()
    assert trace.given_mask is not None and trace.given_mask.size == (48, 32)
    black = make_model(TINY).sample(
        "a cat", image=image, mask=Image.new("L", (48, 32)), pad=16, **SETTINGS
    )
    assert black.mask is None and "nothing will change" not in " ".join(black.notices)


def test_the_new_area_starts_from_noise_only_at_full_strength(make_model: Make) -> None:
    model, image = make_model(TINY), picture(16, 16)
    settings = {"image": image, "pad": (0, 0, 16, 0), **SETTINGS}
    full = next(model.sample("a cat", strength=1.0, **settings))
    half = model.sample("a cat", strength=0.5, **settings)
    first = next(half)
    assert len(half) == 2
    assert float((full.x / (1 + full.sigma**2) ** 0.5).std()) == pytest.approx(1, abs=0.2)
    left = model.posterior(canvas(image, (0, 0, 16, 0)))[0]
    noise = (first.x - left) / first.sigma
    assert float(noise.std()) == pytest.approx(1, abs=0.2)  # the edges continued, and noise


def test_an_image_of_a_batch_is_padded_as_alone(make_model: Make) -> None:
    model, image = make_model(TINY), picture(16, 16)
    settings = {"image": image, "pad": 8, "steps": 3, "sampler": "euler_ancestral"}
    *_, both = model.sample(["a cat", "a dog"], seed=[3, 4], **settings)
    *_, alone = model.sample("a dog", seed=4, **settings)
    assert torch.allclose(both.x_next[1:], alone.x_next, atol=1e-4)


def test_a_canvas_is_rounded_up_and_says_so(make_model: Make) -> None:
    run = make_model(TINY).sample("a cat", image=picture(15, 16), pad=(0, 0, 8, 0), **SETTINGS)
    assert run.settings.size == (24, 16) and run.settings.pad == (0, 0, 9, 0)
    assert "rounded up to multiples of 2, 24 x 16" in " ".join(run.notices)
    even = make_model(TINY).sample("a cat", image=picture(16, 16), pad=(0, 0, 8, 0), **SETTINGS)
    assert "rounded up" not in " ".join(even.notices)


def test_an_image_is_fitted_to_the_size_that_the_pad_leaves(make_model: Make) -> None:
    settings = {"pad": (8, 0, 8, 0), "width": 32, "height": 16, **SETTINGS}
    run = make_model(TINY).sample("a cat", image=picture(64, 32), **settings)
    assert run.image is not None and run.image.size == (16, 16)
    assert "resized from 64 x 32 to 16 x 16" in " ".join(run.notices)
    alone = make_model(TINY).sample("a cat", image=picture(64, 32), pad=(0, 0, 32, 0), width=64)
    assert alone.image is not None and alone.image.size == (32, 16)


def test_a_depth_map_is_that_of_the_whole(make_model: Make) -> None:
    depth = np.linspace(0, 1, 32 * 16).reshape(16, 32)
    trace = make_model(DEPTH).generate(
        "a cat", image=picture(16, 16), depth=depth, pad=(0, 0, 16, 0), **SETTINGS
    )
    assert trace.given_depth is not None and trace.given_depth.shape == (16, 32)


@pytest.mark.parametrize("config", [EDITS, ENLARGES])
def test_models_that_make_all_of_the_image_take_no_pad(
    make_model: Make, config: ModelConfig
) -> None:
    with pytest.raises(InputError, match="takes no pad") as caught:
        make_model(config).sample("a cat", image=picture(16, 16), pad=8, **SETTINGS)
    assert caught.value.parameter == "pad"


def test_a_pad_without_an_image_or_beyond_the_limits_is_refused(
    tiny_model: LatentDiffusion,
) -> None:
    with pytest.raises(InputError, match="none was given") as caught:
        tiny_model.sample("a cat", pad=8)
    assert caught.value.parameter == "image"
    with pytest.raises(InputError, match="4296 x 416; the limit is 4096") as caught:
        tiny_model.sample("a cat", image=Image.new("RGB", (4096, 16)), pad=(200, 200, 0, 200))
    assert caught.value.parameter == "pad"
    for value in (0, (0, 0, 0, 0), -1, 2.5, (1, 2, 3), "8"):
        with pytest.raises(InputError) as caught:
            tiny_model.sample("a cat", image=picture(16, 16), pad=value)
        assert caught.value.parameter == "pad"


def test_a_second_pass_paints_the_same_area_larger(make_model: Make) -> None:
    image = picture(64, 32)
    trace = make_model(TINY).generate(
        "a cat", image=image, pad=(0, 0, 32, 0), hires=1.5, hires_steps=4, **SETTINGS
    )
    made, seam = np.asarray(trace.image), OVERLAP * FACTOR
    assert trace.image.size == (144, 48) and trace.settings.pad == (0, 0, 32, 0)
    assert trace.given_image is not None and trace.given_image.size == (96, 48)
    assert np.array_equal(made[:, : 96 - seam], np.asarray(trace.given_image)[:, : 96 - seam])
    again = make_model(TINY).generate(**trace.settings.as_dict(), image=trace.given_image)
    assert again.image.size == trace.image.size


# -- records ----------------------------------------------------------------------------------


def test_a_record_makes_the_run_again_without_padding_twice(
    make_model: Make, tmp_path: Path
) -> None:
    model = make_model(TINY)
    mask = Image.new("L", (15, 16))
    mask.paste(255, (0, 0, 4, 4))
    trace = model.generate("a cat", image=picture(15, 16), mask=mask, pad=(8, 2, 0, 0), **SETTINGS)
    assert trace.given_image is not None and trace.given_image.size == (15, 16)
    loaded = Trace.load(trace.save(tmp_path / "run.sdtrace"))
    assert loaded.task == "outpainting" and loaded.settings == trace.settings
    again = model.generate(
        **loaded.settings.as_dict(), image=loaded.given_image, mask=loaded.given_mask
    )
    assert again.image.size == trace.image.size == (24, 18)
    assert again.image.tobytes() == trace.image.tobytes()
    assert again.settings == trace.settings


def test_an_images_file_names_the_image_that_it_needs(make_model: Make) -> None:
    trace = make_model(TINY).generate("a cat", image=picture(16, 16), pad=8, **SETTINGS)
    record = read_record(trace.png())
    assert record is not None
    assert (record["task"], record["given"]) == ("outpainting", ["image"])
    assert record["settings"]["pad"] == [8, 8, 8, 8]
    with pytest.raises(InputError, match="also given image"):
        read_settings(trace.png())
    assert read_settings(trace.png(), partial=True) == trace.settings


def test_a_words_effect_is_asked_of_a_padded_run(make_model: Make) -> None:
    model = make_model(TINY)  # the record has a weak reference only
    trace = model.generate(
        "a red cat", image=picture(16, 16), pad=(0, 0, 16, 0), attention=True, **SETTINGS
    )
    ablation = trace.ablate("red")
    assert ablation.trace.image.size == trace.image.size == (32, 16)
    assert ablation.trace.settings.pad == trace.settings.pad
    assert ablation.change[:, :8].max() == 0 < ablation.change[:, 16:].max()
    assert trace.heat_map("cat").shape == (16, 32)
