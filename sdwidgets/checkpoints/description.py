"""What a file or a folder is, as data and in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import checks
from ..configs import Prediction
from ..strict_json import parse_object
from .recognise import KINDS

CONVERT = "sdwidgets convert"
"""How the command begins that converts a file."""

PARTS_OF_MODELS = {kind.key for kind in KINDS if kind.group in ("addition", "part")}
"""The kinds of files that are used with a model."""


@dataclass(frozen=True)
class Holding:
    """A part that a file or a folder holds: "UNet", "autoencoder", "text encoder", ..."""

    part: str
    tensors: int
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Description:
    """What a file or a folder is. ``str()`` is the plain words, a few short lines."""

    path: Path
    kind: str
    """"model", or the key of a row of `recognise.KINDS`: "lora", "embedding", "autoencoder", ..."""
    what: str
    """What it is, in a few words."""
    family: str = ""
    """The family of models that it is, or that it was made for; "" if nothing tells it."""
    layout: str = ""
    """How its tensors are named: "CompVis", "Stability (sgm)", "diffusers", "kohya", ..."""
    holds: tuple[Holding, ...] = ()
    """Its parts."""
    dtype: str = ""
    """The type of its numbers, as "float16", or several with the most frequent one first."""
    bytes: int = 0
    """Of its files."""
    prediction: Prediction | None = None
    """What its network predicts; None if it has none, or if that is in doubt."""
    decided: str = ""
    """How that was decided, in words."""
    zero_snr: bool = False
    """Whether its noise ends in pure noise (zero terminal SNR)."""
    few_steps: str = ""
    """The settings for which it was distilled, "4, lcm, guidance 1 (its name says so)"; or ""."""
    resolution: int | None = None
    """Pixels along one side of the images for which it was made; None if nothing tells it."""
    missing: tuple[str, ...] = ()
    """What it lacks, with the argument of `load` that helps."""
    ignored: tuple[str, ...] = ()
    """What loading it leaves out."""
    notices: tuple[str, ...] = ()
    """What else loading it would say."""
    loads: str = ""
    """How this kit takes it, as code or a command; "" if it does not."""
    refused: str = ""
    """Why it does not load, if that is not said by what it is."""
    notes: tuple[tuple[str, str], ...] = ()
    """What the file says about itself: (title, text), such as ("trigger words", "a puppet")."""

    @property
    def title(self) -> str:
        """What it is, and for which family."""
        if not self.family or self.kind == "model":
            return self.what
        link = {"autoencoder": ", of ", "unet": ", of ", "text_encoder": ": "}
        return f"{self.what}{link.get(self.kind, ', for ')}{self.family}"

    @property
    def line(self) -> str:
        """The words in a single line."""
        told = [self.title, f"{in_bytes(self.bytes)} of {self.dtype}" if self.dtype else ""]
        if self.prediction:
            how = f" ({self.decided})" if self.decided else ""
            told.append(f"predicts {self.prediction}{how}")
        if self.few_steps:
            told.append(f"few steps: {self.few_steps}")
        if self.resolution:
            told.append(f"made for {self.resolution} x {self.resolution} pixels")
        said = [", ".join(filter(None, told))]
        if self.missing:
            said.append(f"It lacks {' and '.join(self.missing)}")
        if self.kind == "model":
            said += [f"It does not load: {self.refused}"] if self.refused else []
            said += [f"Convert it with {self.loads}"] if self.loads.startswith(CONVERT) else []
        else:
            said.append(self._use)
        return ". ".join(each.rstrip(".") for each in said) + "."

    @property
    def _use(self) -> str:
        """What this kit does with a file that is no model which runs here."""
        if not self.is_part:
            return "This kit does not run it"
        use = f"use it with {self.loads}" if self.loads else "this kit does not use it"
        return f"It is no whole model; {use}"

    @property
    def is_part(self) -> bool:
        """Whether it is an addition to a model or a part of one, and no model."""
        return self.kind in PARTS_OF_MODELS

    @property
    def parameters(self) -> int:
        """The number of its parameters."""
        return sum(each.parameters for each in self.holds)

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def as_dict(self) -> dict[str, Any]:
        """Return its fields as plain data for JSON."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        held = [
            {name: getattr(each, name) for name in each.__dataclass_fields__} for each in self.holds
        ]
        plain = {name: list(value) if isinstance(value, tuple) else value
                 for name, value in found.items()}  # fmt: skip
        return {
            **plain,
            "path": str(self.path),
            "holds": held,
            "notes": dict(self.notes),
            "parameters": self.parameters,
        }


_NOTES = (
    ("title", "modelspec.title"),
    ("author", "modelspec.author"),
    ("trigger words", "modelspec.trigger_phrase"),
    ("name", "ss_output_name"),
    ("trained on", "ss_base_model_version"),
    ("trained on", "ss_sd_model_name"),
    ("images", "ss_resolution"),
    ("images", "modelspec.resolution"),
    ("licence", "modelspec.license"),
    ("about", "modelspec.description"),
)
_MOST_NOTE = 100  # characters
_MOST_TAGS = 2**20  # characters of a list of tags that is read


def notes_of(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a file says about itself, clipped, as plain text; each title once."""
    found: dict[str, str] = {}
    for title, key in _NOTES:
        if text := plain(metadata.get(key, "")):
            found.setdefault(title, text)
    if tags := _tags(metadata.get("ss_tag_frequency", "")):
        found["tags of its images"] = plain(", ".join(tags))
    return tuple(found.items())


def _tags(text: str) -> list[str]:
    """The most frequent tags of the images on which a LoRA was trained, which often trigger it."""
    if not text or len(text) > _MOST_TAGS:
        return []
    counts: Counter[str] = Counter()
    try:
        for tags in parse_object(text).values():
            if isinstance(tags, dict):
                counts.update({tag.strip(): n for tag, n in tags.items() if type(n) is int})
    except ValueError:  # not what kohya writes
        return []
    return [tag for tag, _ in counts.most_common(5)]


def plain(text: str) -> str:
    """The text in one line, without invisible characters, and not too long."""
    seen = "".join(c if c.isprintable() else " " for c in text[: 4 * _MOST_NOTE])
    return checks.shortened(" ".join(seen.split()), _MOST_NOTE)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def tensors(count: int) -> str:
    return f"{count:,} tensor{'s' * (count != 1)}"


def in_bytes(count: int) -> str:
    """A number of bytes for people: "6.9 GB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,} bytes"


def _lines(it: Description) -> list[str]:
    names = f", {it.layout} names" if it.layout else ""
    lines = [f"{it.title}{names}."]
    held = [f"{each.part} ({tensors(each.tensors)})" for each in it.holds if each.part != "tensors"]
    size = f"{in_bytes(it.bytes)}" + (f" of {it.dtype}" if it.dtype else "")
    lines.append(f"  {size}" + (f": {', '.join(held)}." if held else "."))
    told = []
    if it.prediction:
        told.append(f"It predicts {it.prediction} ({it.decided})" if it.decided
                    else f"It predicts {it.prediction}")  # fmt: skip
    if it.zero_snr:
        told.append("its noise ends in pure noise (zero terminal SNR)")
    if it.few_steps:
        told.append(f"few steps: {it.few_steps}")
    if it.resolution:
        told.append(f"made for {it.resolution} x {it.resolution} pixels")
    if told:
        lines.append(f"  {capital('; '.join(told))}.")
    if it.missing:
        lines.append(f"  It lacks {' and '.join(it.missing)}.")
    if it.ignored:
        lines.append(f"  Left out: {', '.join(it.ignored)}.")
    lines += [f"  {said}" for said in it.notices]
    if it.notes:
        lines.append("  " + "; ".join(f"{title}: {text}" for title, text in it.notes) + ".")
    if it.loads:
        verb = "Load" if it.kind == "model" else "Use"
        verb = "Convert" if it.loads.startswith(CONVERT) else verb
        lines.append(f"  {verb} it with {it.loads}")
    elif it.refused:
        lines += ["  It does not load:", *(f"    {line}" for line in it.refused.splitlines())]
    else:
        lines.append(f"  This kit does not {'use' if it.is_part else 'run'} it.")
    return lines
