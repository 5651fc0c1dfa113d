"""The comparison as one picture, for where no widget can be shown."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from .rebuild import Reconstruction

GAP = 12
LINE = 14  # pixels from a line of text to the next


def still(picture: Image.Image, results: Sequence[Reconstruction]) -> Image.Image:
    """The picture and its reconstructions side by side, each with its numbers under it."""
    cells = [(picture, ["original"])]
    for one in results:
        numbers = [one.name, f"PSNR {one.psnr:.1f} dB", f"SSIM {one.ssim:.3f}"]
        cells.append((one.image, [*numbers, f"{one.bits:.3g} bits a pixel"]))
    wide = max(picture.width, 110)
    size = (GAP + len(cells) * (wide + GAP), picture.height + 2 * GAP + 4 * LINE)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, (image, lines) in enumerate(cells):
        left = GAP + i * (wide + GAP)
        sheet.paste(image, (left, GAP))
        for row, text in enumerate(lines):
            draw.text((left, picture.height + GAP + 4 + row * LINE), text, fill="#333333")
    return sheet
