"""The settings and sources of a run in words: a name and a text for each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..settings import TOLD, Settings
from ..sources import QUICK, Source, hashed
from .record import GivenControl, Record

NONE = "none"


def headline(record: Record) -> str:
    """The prompt on one line, or a title for a run without one."""
    return " ".join(record.prompt.split()) or "A run of a diffusion model"


def summary(record: Record) -> list[str]:
    """The most important settings, briefly: "seed 7", "20 steps", ..."""
    settings = record.settings
    count = record.expected or len(record.steps)
    parts = [f"{count} steps" if count != 1 else "1 step"]
    if record.task:  # else someone's own loop: nothing more is known
        guidance = settings.guidance_scale
        parts = [
            f"seed {_seeds(settings)}",
            *parts,
            settings.sampler,
            "" if guidance is None else f"guidance {guidance:g}",
        ]
    parts += ["{} × {}".format(*record.size), record.model]
    if record.batch_size > 1:
        parts.insert(0, f"{record.batch_size} images")
    return [part for part in parts if part]


def about(record: Record) -> list[tuple[str, str]]:
    """All settings and sources as (name, text); a text may have several lines.

    The names are those of `Settings`, without underscores. Empty prompts are "none"; unknown
    values are left out. Reads the files of the model's sources if they are small (see
    `hashed`).
    """
    settings = record.settings
    guidance = settings.guidance_scale
    rows = {
        "prompt": _each(settings.prompts).strip() or NONE,
        "negative prompt": _each(settings.negative_prompts).strip() or NONE,
        "reading": _reading(settings),
        "seed": _seeds(settings),
        "steps": _steps(record),
        "sampler": settings.sampler if record.task else "",
        "schedule": settings.schedule if record.task else "",
        "guidance": "" if guidance is None or not record.task else _guidance(settings),
        "size": "{} × {} pixels".format(*record.size),
        "task": _task(record),
        "model": record.model,
        "prediction": _prediction(record),
        "fingerprint": record.fingerprint,
        "controls": "\n".join(map(_control, record.given_controls)),
        "sources": "\n".join(map(_source, hashed(record.sources, QUICK))),
        "made with": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    }
    return [(name, text) for name, text in rows.items() if text.strip()]


def _each(texts: Sequence[str]) -> str:
    """The texts, a line each; a single line where all are the same."""
    return "\n".join(texts if len(set(texts)) > 1 else texts[:1])


def _reading(settings: Settings) -> str:
    """How the prompts were read, where that is not as usual."""
    usual, parts = Settings(), []
    if settings.weights != usual.weights:
        parts.append(f"weights {settings.weights}")
    if settings.clip_skip:
        parts.append(f"clip skip {settings.clip_skip}")
    if settings.chunks != usual.chunks:
        parts.append("1 chunk" if settings.chunks == 1 else f"{settings.chunks} chunks")
    return ", ".join(parts)


def _seeds(settings: Settings) -> str:
    """ "7", "7 to 10", or "7, 3, 5"."""
    if settings.seed is None:
        return ""
    seeds = settings.seeds
    if len(seeds) > 2 and all(b == a + 1 for a, b in itertools.pairwise(seeds)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _steps(record: Record) -> str:
    whole = record.expected or len(record.steps)
    text = f"{whole} in {record.total:.1f} s" if record.total else f"{whole}"
    return text if record.complete else f"{text}, stopped before its end"


def _guidance(settings: Settings) -> str:
    rescaled = settings.guidance_rescale
    return f"{settings.guidance_scale:g}" + (f", rescaled by {rescaled:g}" if rescaled else "")


def _task(record: Record) -> str:
    """The task, with the settings that only it or its sampler has."""
    settings = record.settings
    parts: list[str] = [record.task]
    if record.given_image is not None:
        parts += [f"strength {settings.strength:g}", f"fit {settings.fit}"]
    if settings.eta:
        parts.append(f"eta {settings.eta:g}")
    parts += [told(settings, name) for name in TOLD]
    return ", ".join(part for part in parts if part)


def told(settings: Settings, name: str) -> str:
    """A setting that only some models are told, "noise level 20"; "" for other models."""
    value = getattr(settings, name)
    return "" if value is None else f"{name.replace('_', ' ')} {value:g}"


def _prediction(record: Record) -> str:
    known = record.prediction and record.prediction_source
    return f"{record.prediction}, from {record.prediction_source}" if known else record.prediction


def _control(control: GivenControl) -> str:
    """ "canny.safetensors, strength 0.5, steps 0 % to 80 %"."""
    parts = [control.name, f"strength {control.strength:g}"]
    if (control.start, control.end) != (0, 1):
        parts.append(f"from {control.start:.0%} to {control.end:.0%} of the steps")
    return ", ".join(parts)


def _source(source: Source) -> str:
    parts = [source.name, source.kind if source.kind != "checkpoint" else ""]
    if source.strength is not None:
        parts.append(f"strength {source.strength:g}")
    if source.text_strength is not None:
        parts.append(f"text strength {source.text_strength:g}")
    if source.commit:
        parts.append(f"commit {source.commit}")
    if source.sha256:
        parts.append(f"SHA-256 {source.sha256}")
    return ", ".join(part for part in parts if part)
