"""The comparison as one image, for places that show no widgets."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from .reconstruction import Reconstruction

GAP = 12
LINE = 14  # pixels from a line of text to the next


def contact_sheet(image: Image.Image, results: Sequence[Reconstruction]) -> Image.Image:
    """The image and its reconstructions side by side, with their numbers below."""
    cells = [(image, ["original"])]
    for one in results:
        numbers = [one.name, f"PSNR {one.psnr:.1f} dB", f"SSIM {one.ssim:.3f}"]
        cells.append((one.image, [*numbers, f"{one.bits:.3g} bits a pixel"]))
    wide = max(image.width, 110)
    size = (GAP + len(cells) * (wide + GAP), image.height + 2 * GAP + 4 * LINE)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, (cell, lines) in enumerate(cells):
        left = GAP + i * (wide + GAP)
        sheet.paste(cell, (left, GAP))
        for row, text in enumerate(lines):
            draw.text((left, image.height + GAP + 4 + row * LINE), text, fill="#333333")
    return sheet
