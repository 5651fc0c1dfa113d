"""The comparison as one image, for places that show no widgets."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .reconstruction import Reconstruction

GAP = 12
SIZE = 13  # of the text, in pixels
LINE = 17  # pixels from a line of text to the next
INK = "#797979"  # stands out as much on white as in a dark theme


def contact_sheet(image: Image.Image, results: Sequence[Reconstruction]) -> Image.Image:
    """The image and its reconstructions side by side, with their numbers below.

    It has no background, so that it can be read in light and dark themes.
    """
    cells = [(image, ["original"])]
    for one in results:
        numbers = [one.name, f"PSNR {one.psnr:.1f} dB", f"SSIM {one.ssim:.3f}"]
        cells.append((one.image, [*numbers, f"{one.bits:.3g} bits a pixel"]))
    font = ImageFont.load_default(SIZE)
    texts = [text for _, lines in cells for text in lines]
    wide = max(image.width, *(round(font.getlength(text)) for text in texts))
    size = (GAP + len(cells) * (wide + GAP), image.height + 2 * GAP + 4 * LINE)
    sheet = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(sheet)
    for i, (cell, lines) in enumerate(cells):
        left = GAP + i * (wide + GAP)
        sheet.paste(cell, (left, GAP))
        for row, text in enumerate(lines):
            draw.text((left, image.height + GAP + 4 + row * LINE), text, fill=INK, font=font)
    return sheet
