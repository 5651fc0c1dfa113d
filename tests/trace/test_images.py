from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from sdwidgets.errors import ImageError, InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.settings import PROMPT_LENGTH, Settings
from sdwidgets.trace import (
    encode_jpeg,
    encode_png,
    fit_preview,
    preview_rgb,
    read_record,
    read_settings,
    write_file,
)
from sdwidgets.trace.images import SD1_PREVIEW
from sdwidgets.trace.older import FORMAT

FACTORS = np.array([[0.4, 0, 0], [0, 0.4, 0], [0, 0, 0.4], [0, 0, 0], [0, 0, 0.2]], np.float32)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_preview_is_linear_in_the_latents_and_clipped() -> None:
    latents = torch.zeros(1, 4, 2, 3)
    latents[0, 0, 0, 0], latents[0, 1, 0, 1] = 1.0, -100.0
    preview = preview_rgb(latents, FACTORS)
    assert preview.shape == (1, 2, 3, 3) and preview.dtype == np.uint8
    assert preview[0, 0, 0].tolist() == [178, 128, 153]
    assert preview[0, 0, 1].tolist() == [128, 0, 153]


def test_noisy_latents_are_brought_to_unit_variance() -> None:
    latents, sigma = noise(1, 4, 8, 8), 10.0
    noisy = preview_rgb(latents * (1 + sigma**2) ** 0.5, FACTORS, sigma=sigma)
    assert np.abs(noisy.astype(int) - preview_rgb(latents, FACTORS)).max() <= 1


def test_a_preview_of_nan_is_a_image_all_the_same() -> None:
    assert preview_rgb(torch.full((1, 4, 2, 2), float("nan")), FACTORS).shape == (1, 2, 2, 3)


def test_factors_that_made_images_are_found_again() -> None:
    latents = noise(4, 4, 8, 8) * 0.4
    rgb = torch.einsum("bchw,cr->brhw", latents, torch.from_numpy(FACTORS[:4]))
    rgb += torch.from_numpy(FACTORS[4])[:, None, None]
    assert rgb.abs().max() < 1
    pictures = rgb.repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert np.allclose(fit_preview(latents, pictures), FACTORS, atol=1e-4)


def test_stable_diffusions_factors_show_no_latents_as_grey() -> None:
    assert preview_rgb(torch.zeros(1, 4, 1, 1), SD1_PREVIEW).flatten().tolist() == [128] * 3


def test_a_jpeg_keeps_its_colours_at_full_resolution() -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[::2, :, 0], stripes[1::2, :, 2] = 255, 255
    data = encode_jpeg(stripes, quality=95)
    assert data[:2] == b"\xff\xd8"
    again = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(again - stripes).mean() < 12


def test_a_png_keeps_pixels_and_record() -> None:
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    settings = {"prompt": "<script> é 👨‍👩‍👧 \0 \u202e", "seed": 2**32 - 1}
    record = {"settings_format": FORMAT, "settings": settings}
    data = encode_png(picture, record)
    assert Image.open(io.BytesIO(data)).tobytes() == picture.tobytes()
    assert read_record(data) == record


@pytest.mark.parametrize("text", ["\0", "😀", "é\u202e", '"\\', "\udcff"], ids=ascii)
def test_the_longest_record_is_read_back(text: str) -> None:
    prompt = (text * PROMPT_LENGTH)[:PROMPT_LENGTH]
    settings = {"prompt": prompt, "negative_prompt": prompt}
    record = {"settings_format": FORMAT, "settings": settings, "cut": prompt}
    assert read_record(encode_png(Image.new("RGB", (2, 2)), record)) == record


def test_a_png_without_a_record() -> None:
    assert read_record(encode_png(Image.new("RGB", (2, 2)))) is None


@pytest.mark.parametrize("text", ["[1, 2]", '"words"', "3", '{"a": 1}' + " " * (1 << 22)])
def test_a_foreign_text_is_no_record(text: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("sdwidgets", text)
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG", pnginfo=info)
    assert read_record(buffer.getvalue()) is None


@pytest.mark.parametrize("source", [b"", b"no picture", "none.png"])
def test_a_broken_file_has_no_record(source: bytes | str) -> None:
    with pytest.raises(ImageError):
        read_record(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.timeout(10)
def test_a_pipe_has_no_record_and_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="no such file"):
        read_record(tmp_path / "pipe.png")


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    assert write_file(tmp_path / "a.png", b"new").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "a.png", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"a\.png' could not be written: No space") as caught:
        write_file(path, b"new")
    assert caught.value.parameter == "path"
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["nowhere/a.png", "folder", "a\0.png", "x" * 300])
def test_a_path_that_cannot_be_written_is_an_input_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        InputError, match=r"could not be written|and is not a file|must be the path"
    ):
        write_file(tmp_path / name, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(os.name != "posix", reason="folders are no files there")
def test_the_folders_names_are_on_the_disk_after_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    monkeypatch.setattr(
        os,
        "fsync",
        lambda handle: synced.append(
            (stat.S_ISDIR(os.fstat(handle).st_mode), (tmp_path / "a.png").exists())
        ),
    )
    write_file(tmp_path / "a.png", b"new")
    assert synced == [(False, False), (True, True)]


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_a_file_has_the_usual_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = tmp_path / "usual"
    usual.write_bytes(b"")
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("other threads' files, too"))
    assert write_file(tmp_path / "a", b"").stat().st_mode == usual.stat().st_mode


# -- settings inside images ------------------------------------------------------------------

ASKED: dict[str, Any] = {"steps": 3, "seed": 1, "sampler": "euler"}
PICTURE = Image.effect_noise((16, 16), 60)
MASK = Image.new("L", (16, 16), 255)
NOISE = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)


def test_the_settings_of_a_text_make_its_image_again(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **ASKED)
    again = tiny_model.generate(**read_settings(trace.png()).as_dict())
    assert again.image.tobytes() == trace.image.tobytes()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"image": PICTURE}, "image"),
        ({"image": PICTURE, "mask": MASK}, "image and mask"),
        ({"latents": NOISE}, "latents"),
        ({"image": PICTURE, "mask": MASK, "latents": NOISE}, "image and mask and latents"),
    ],
    ids=["image", "mask", "latents", "all"],
)
def test_settings_alone_are_refused_where_more_was_given(
    tiny_model: LatentDiffusion, given: dict[str, Any], named: str
) -> None:
    trace = tiny_model.generate("a cat", **given, **ASKED)
    with pytest.raises(InputError, match=f"also given {named}[.]") as caught:
        read_settings(trace.png())
    assert len(str(caught.value).splitlines()) <= 3
    settings = read_settings(trace.png(), partial=True)
    again = tiny_model.generate(**settings.as_dict(), **given)
    assert again.image.tobytes() == trace.image.tobytes()


@pytest.mark.parametrize(
    ("task", "named"), [("image to image", "image"), ("inpainting", "image and mask")]
)
def test_the_task_alone_says_what_was_given(task: str, named: str) -> None:
    record = {"task": task, "settings": Settings(prompt="a cat").as_dict()}
    with pytest.raises(InputError, match=f"also given {named}[.]"):
        read_settings(encode_png(PICTURE, record))


@pytest.mark.parametrize("given", ["image", [1], ["everything"], {"image": 1}])
def test_what_was_given_is_not_trusted(given: Any) -> None:
    record = {"given": given, "settings": Settings(prompt="a cat").as_dict()}
    assert read_settings(encode_png(PICTURE, record)).prompt == "a cat"
