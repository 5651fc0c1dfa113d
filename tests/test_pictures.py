from __future__ import annotations

import io
import os
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image, PngImagePlugin

from sdwidgets.errors import ImageError, InputError
from sdwidgets.pictures import Start, as_mask, as_picture, fitted


def first_pixel(value: Any) -> tuple[int, int, int]:
    picture, _ = as_picture(value)
    assert picture.mode == "RGB"
    return picture.getpixel((0, 0))


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("LA", (0, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 32896, (128, 128, 128)),
        ("I", 65535, (255, 255, 255)),
        ("F", 1.0, (255, 255, 255)),
        ("F", 0.5, (128, 128, 128)),
        ("I;16", 257, (1, 1, 1)),  # by the type, however small the greatest value
        ("I;16B", 257, (1, 1, 1)),
        ("I", 255, (1, 1, 1)),
        ("I", -5, (0, 0, 0)),
        ("La", (0, 0), (255, 255, 255)),
        ("PA", (0, 0), (255, 255, 255)),
        ("RGBa", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBX", (1, 2, 3, 0), (1, 2, 3)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("YCbCr", (255, 128, 128), (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(mode: str, colour: Any, expected: tuple[int, int, int]) -> None:
    assert first_pixel(Image.new(mode, (4, 3), colour)) == expected


def test_a_palette_with_transparency_is_flattened_on_white() -> None:
    picture = Image.new("P", (4, 3), 0)
    picture.putpalette([10, 20, 30] + [0] * 765)
    assert first_pixel(picture) == (10, 20, 30)
    assert first_pixel(encoded(picture, transparency=0)) == (255, 255, 255)


def test_lab_is_converted_by_colour() -> None:
    # sRGB red is L* 53.2, a* 80.1, b* 67.2 (CIE 1976, white D65)
    red = first_pixel(Image.new("LAB", (4, 3), (round(53.2 * 2.55), 128 + 80, 128 + 67)))
    np.testing.assert_allclose(red, (255, 0, 0), atol=20)


@pytest.mark.parametrize("kind", ["PNG", "none"])
def test_sixteen_bits_are_read_alike_from_files_arrays_and_pil(kind: str) -> None:
    values = np.full((3, 4), 1000, np.uint16)
    image = Image.fromarray(values)
    assert first_pixel(encoded(image) if kind == "PNG" else image) == (4, 4, 4)
    assert first_pixel(values) == first_pixel(values.astype(">u2")) == (4, 4, 4)


@pytest.mark.parametrize("value", [2.0, -0.1, np.nan, np.inf])
def test_floats_beyond_one_are_refused_as_in_arrays(value: float) -> None:
    with pytest.raises(ImageError, match="between 0 and 1"):
        as_picture(Image.new("F", (4, 3), value))


@pytest.mark.parametrize(
    ("mode", "colour", "key", "expected"),
    [
        ("L", 77, 77, 255),
        ("L", 77, 78, 77),
        ("1", 0, 0, 255),
        ("RGB", (7, 7, 7), (7, 7, 7), 255),
        ("I;16", 1000, 1000, 255),
        ("I;16", 1000, 1001, 4),
        ("P", 7, bytes([255] * 7 + [0]), 255),
        ("P", 7, bytes([0] * 7 + [255]), 7),
        # what is no colour of the mode makes nothing transparent
        ("L", 77, (77, 77, 77), 77),
        ("L", 77, b"M", 77),
        ("L", 77, 77.0, 77),
        ("RGB", (7, 7, 7), 7, 7),
        ("RGB", (7, 7, 7), (7, None, 7), 7),
        ("RGB", (7, 7, 7), b"\x07\x07\x07", 7),
        ("P", 7, bytes(300), 7),
        ("P", 7, (1, 2, 3), 7),
        ("P", 7, "text", 7),
        ("CMYK", (0, 0, 0, 0), (0, 0, 0), 255),
        ("YCbCr", (0, 128, 128), 5, 0),
        ("LA", (9, 255), 9, 9),
    ],
)
def test_transparent_colours_of_every_type(mode: str, colour: Any, key: Any, expected: int) -> None:
    image = Image.new(mode, (4, 3), colour)
    if mode == "P":
        image.putpalette([level for grey in range(256) for level in (grey,) * 3])
    image.info["transparency"] = key
    assert first_pixel(image) == (expected,) * 3
    assert image.info["transparency"] == key and image.mode == mode


def test_no_mode_and_no_metadata_gives_another_error() -> None:
    rng = random.Random(0)
    odd = [None, b"", b"\xff" * 300, (1,), (1, 2, 3), -1, 70000, 2.5, "text", [1], {}, object()]
    names = ["transparency", "exif", "icc_profile", "gamma", "dpi", "duration", "xmp", "background"]
    modes = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA"]
    modes += ["RGBX", "RGBa", "La", "I;16", "I;16L", "I;16B"]
    read = 0
    for _ in range(400):
        image = Image.new(rng.choice(modes), (rng.randint(1, 5), 3))
        image.info = {name: rng.choice(odd) for name in names}
        try:
            result, _ = as_picture(image)
        except ImageError:
            continue
        read += 1
        assert (result.mode, result.size, result.info) == ("RGB", image.size, {})
    assert read == 400  # metadata never spoil pixels


def test_metadata_are_not_kept() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 2**20)
    result, _ = as_picture(encoded(Image.new("RGB", (4, 4)), pnginfo=info))
    assert result.info == {} and not result.getexif()


def test_damaged_exif_leaves_the_image_upright() -> None:
    data = encoded(
        Image.new("RGB", (4, 2)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"
    )
    assert as_picture(data)[0].size == (4, 2)


def test_the_second_image_of_a_photo_is_no_animation() -> None:
    photo, depth = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encoded(photo, "MPO", save_all=True, append_images=[depth])
    result, notices = as_picture(data)
    assert notices == () and result.getpixel((4, 4))[0] > 200


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_type(kind: Any) -> None:
    assert first_pixel(kind(encoded(Image.new("RGB", (2, 2), "red")))) == (255, 0, 0)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((3, 4, 3), 9, np.uint8), (9, 9, 9)),
        (np.full((3, 4), 9, np.uint8), (9, 9, 9)),
        (np.full((3, 4, 1), 9, np.uint8), (9, 9, 9)),
        (np.full((3, 4, 4), 255, np.uint8), (255, 255, 255)),
        (np.ones((3, 4, 3), np.float32), (255, 255, 255)),
        (np.ones((3, 4), bool), (255, 255, 255)),
        (np.full((3, 4), 65535, np.uint16), (255, 255, 255)),
    ],
)
def test_arrays(array: np.ndarray, expected: tuple[int, int, int]) -> None:
    assert first_pixel(array) == expected
    assert as_picture(array)[0].size == (4, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4, 2), np.uint8),
        np.zeros((2, 3, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((3, 4, 3), np.int64),
        np.full((3, 4, 3), 2.0),
        np.full((3, 4, 3), np.nan),
        np.zeros((3, 4, 3), complex),
        np.zeros((3, 4), object),
        np.zeros((3, 4), [("r", "u1")]),
        np.zeros((3, 4), "datetime64[s]"),
        np.ma.masked_array(np.zeros((3, 4), np.uint8), mask=True),
        np.zeros((), np.uint8),
        np.zeros((0, 0, 3), np.float32),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray) -> None:
    with pytest.raises(ImageError):
        as_picture(array)


@pytest.mark.parametrize("value", [5, object(), [1, 2], {"a": 1}])
def test_things_that_are_no_pictures(value: Any) -> None:
    with pytest.raises(ImageError, match="PIL image"):
        as_picture(value)


def test_the_cameras_orientation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert as_picture(tmp_path / "turned.jpg")[0].size == (2, 4)


def test_the_first_frame_of_an_animation_with_a_notice() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture, notices = as_picture(data)
    assert picture.getpixel((0, 0)) == (255, 0, 0)
    assert "animated" in notices[0]


def test_an_animation_given_stays_at_its_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    animation = Image.open(io.BytesIO(data))
    animation.seek(1)
    assert first_pixel(animation) == (255, 0, 0)
    assert animation.tell() == 1 and animation.convert("RGB").getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_files_are_closed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    frames = [Image.new("L", (4, 4), level) for level in (0, 200)]
    path.write_bytes(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    as_picture(path)
    (tmp_path / "b").write_bytes(path.read_bytes()[:30])
    with pytest.raises(ImageError):
        as_picture(tmp_path / "b")
    mine = {file.path for file in psutil.Process().open_files()}
    assert not {str(tmp_path / "a"), str(tmp_path / "b")} & mine


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "picture.txt"
    path.write_bytes(encoded(Image.new("RGB", (2, 2), "red")))
    assert first_pixel(path) == first_pixel(str(path)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["TIFF", "PDF", "EPS", "PPM", "ICO"])
def test_formats_that_are_not_taken(kind: str) -> None:
    with pytest.raises(ImageError, match="none of PNG"):
        as_picture(encoded(Image.new("RGB", (16, 16)), kind))


def test_svg_is_not_taken() -> None:
    with pytest.raises(ImageError):
        as_picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>")


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    crc = zlib.crc32(body).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0d" + body + crc


@pytest.mark.parametrize("size", [(20000, 20000), (12000, 12000), (8000, 5001), (0, 0)])
def test_the_header_alone_refuses_a_huge_picture(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError):
        as_picture(png_header(*size))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_broken_files_raise_image_errors_only(kind: str) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    for _ in range(60):
        broken = bytearray(data[: rng.integers(1, len(data) + 1)])
        for place in rng.integers(0, len(broken), 3):
            broken[place] ^= 1 << int(rng.integers(8))
        try:
            picture, _ = as_picture(bytes(broken))
        except ImageError:
            continue
        assert picture.mode == "RGB"  # some damage does not show


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.png", "a\0b", "/dev/zero"):
        with pytest.raises(ImageError):
            as_picture(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError):
        as_picture(tmp_path / "pipe.png")


def test_a_picture_given_is_not_changed() -> None:
    picture = Image.new("RGBA", (4, 4), (1, 2, 3, 0))
    as_picture(picture)
    assert picture.mode == "RGBA" and picture.getpixel((0, 0)) == (1, 2, 3, 0)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 8, 0),  # as in a JPEG file
        ("L", 247, 255),
        ("L", 9, 9),
        ("L", 127, 127),
        ("1", 1, 255),
        ("RGB", "white", 255),
        ("RGBA", (255, 255, 255, 0), 0),  # unpainted parts are kept
        ("RGBA", (255, 255, 255, 255), 255),
    ],
)
def test_masks_are_black_and_white_and_grey_between(mode: str, colour: Any, expected: int) -> None:
    mask = as_mask(Image.new(mode, (4, 4), colour))
    assert mask.mode == "L" and mask.getextrema() == (expected, expected)


def half(size: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    return mask


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    picture, mask = Image.new("RGB", (8, 8)), half((8, 8))
    assert fitted(picture, mask, 8, 8) == (picture, mask, ())


def test_another_size_is_scaled_with_a_notice_never_distorted() -> None:
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (10, 0, 30, 20))  # the middle square
    result, mask, notices = fitted(picture, half((40, 20)), 8, 8)
    assert result.size == mask.size == (8, 8)
    assert result.getpixel((4, 4)) == (0, 0, 255)
    assert mask.getpixel((3, 4)) == 255 and mask.getpixel((4, 4)) == 0
    assert notices == (
        "The image was resized from 40 x 20 to 8 x 8; 50% of it was cut off, left and right.",
    )


def test_the_same_shape_is_only_resized() -> None:
    assert fitted(Image.new("RGB", (40, 20)), None, 8, 4)[2] == (
        "The image was resized from 40 x 20 to 8 x 4.",
    )


def test_padding_keeps_the_whole_image_and_the_mask_repaints_the_rest() -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 10, 40, 20))
    result, mask, notices = fitted(image, Image.new("L", (40, 20)), 16, 16, "pad")
    assert mask is not None and result.size == mask.size == (16, 16)
    assert [result.getpixel((3, y)) for y in (0, 4, 11, 15)] == [(255, 0, 0)] * 2 + [
        (0, 0, 255)
    ] * 2
    assert [mask.getpixel((3, y)) for y in (0, 3, 4, 11, 12, 15)] == [255, 255, 0, 0, 255, 255]
    assert notices == (
        "The image was resized from 40 x 20 to 16 x 16; above and below, its edge is repeated.",
    )
    tall, _, (said,) = fitted(Image.new("RGB", (1, 2000), "red"), None, 64, 8, "pad")
    assert tall.getcolors() == [(64 * 8, (255, 0, 0))] and "left and right" in said


def test_only_stretching_distorts_and_says_so() -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (30, 0, 40, 20))
    result, _, notices = fitted(image, None, 8, 8, "stretch")
    assert result.getpixel((7, 4)) == (0, 0, 255) and "distorted" in notices[0]


def test_an_unknown_fit_is_refused() -> None:
    with pytest.raises(InputError, match="'crop', 'pad', 'stretch'"):
        fitted(Image.new("RGB", (8, 8)), None, 8, 8, "cover")


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (7, 7), (9, 33)])
def test_odd_sizes_are_resized_with_a_notice(size: tuple[int, int]) -> None:
    picture, _, notices = fitted(Image.new("RGB", size), None, 16, 16)
    assert picture.size == (16, 16) and len(notices) == 1


def test_a_mask_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(ImageError, match="8 x 4, the image is 8 x 8"):
        fitted(Image.new("RGB", (8, 8)), half((8, 4)), 8, 8)


@pytest.mark.parametrize(("level", "words"), [(0, "nothing will change"), (255, "all white")])
def test_a_mask_of_one_colour_is_noticed(level: int, words: str) -> None:
    mask = Image.new("L", (8, 8), level)
    assert words in fitted(Image.new("RGB", (8, 8)), mask, 8, 8)[2][0]


def test_what_a_run_begins_from_is_opened_once() -> None:
    assert Start.of(None) is None
    start = Start.of(np.full((8, 16), 255, np.uint8), np.zeros((8, 16, 3), np.uint8))
    assert start and start.mask
    assert (start.image.mode, start.mask.mode) == ("RGB", "L")
    small = start.fitted(8, 8)
    assert small.mask and small.image.size == small.mask.size == (8, 8)
    assert [note.split()[1] for note in small.notices] == ["mask", "image"]


def test_a_mask_without_its_image_is_refused() -> None:
    with pytest.raises(InputError, match="without an image"):
        Start.of(None, np.zeros((8, 8), np.uint8))
    with pytest.raises(ImageError, match="8 x 4"):
        Start.of(Image.new("RGB", (8, 8)), half((8, 4)))
