"""The sample images that come with the package: emoji scenes that no training has seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..strict_json import parse_object

SAMPLES = Path(__file__).resolve().parents[1] / "weights" / "samples"


@dataclass(frozen=True)
class Sample:
    """A sample image: its name, what it shows, and its file."""

    name: str
    caption: str
    path: Path


def samples() -> tuple[Sample, ...]:
    """All sample images; () if they are not installed."""
    index = SAMPLES / "samples.json"
    if not index.is_file():
        return ()
    captions = parse_object(index.read_text("utf-8"))
    return tuple(
        Sample(name, str(caption), SAMPLES / f"{name}.png") for name, caption in captions.items()
    )
