"""The settings and sources of a run in words: a name and a text for each."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..checks import is_number, shortened
from ..sampling import EVERY_OPTION
from ..settings import TOLD, Settings
from ..sources import QUICK, Source, hashed
from .parent import Parent
from .record import GivenControl, Record

NONE = "none"
QUOTED = 60
"""Characters of a text within a sentence."""


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
            settings.sampler or "",
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
        "toward": toward(settings),
        "label": labelled(settings),
        "boxes": laid_out(settings),
        "reading": _reading(settings),
        "came from": "\n".join(_ancestry(settings, record.parent)),
        "seed": _seeds(settings),
        "variation": variation(settings),
        "steps": _steps(record),
        "sampler": settings.sampler or "" if record.task else "",
        "schedule": _schedule(settings) if record.task else "",
        "guidance": "" if guidance is None or not record.task else _guidance(settings),
        "size": "{} × {} pixels".format(*record.size),
        "hires": hires(settings),
        "padding": padding(settings),
        "window": "" if settings.window is None else f"{settings.window} pixels",
        "refiner": refined(settings),
        "guide": guided(record),
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


MOST_LEVELS = 12
"""Noise levels given by hand that are listed one by one."""


def _schedule(settings: Settings) -> str:
    """The name of the grid, or its noise levels if they were given."""
    levels = settings.sigmas
    if levels is None:
        return settings.schedule
    if len(levels) > MOST_LEVELS:
        return f"{len(levels)} levels from {levels[0]:g} to {levels[-1]:g}"
    return ", ".join(f"{level:g}" for level in levels)


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
    parts = [text, part(record.settings), "" if record.complete else "stopped before its end"]
    return ", ".join(filter(None, parts))


def _guidance(settings: Settings) -> str:
    rescaled = settings.guidance_rescale
    return f"{settings.guidance_scale:g}" + (f", rescaled by {rescaled:g}" if rescaled else "")


def _task(record: Record) -> str:
    """The task, with the settings that only it or its sampler has."""
    settings = record.settings
    parts: list[str] = [record.task]
    if record.given_image is not None:
        parts += [f"strength {settings.strength:g}", f"fit {settings.fit}"]
    parts += [told(settings, name) for name in (*EVERY_OPTION, *TOLD)]
    return ", ".join(part for part in parts if part)


def told(settings: Settings, name: str) -> str:
    """A setting that only some models or samplers take, "noise level 20"; "" where it is None."""
    value = getattr(settings, name)
    return "" if value is None else f"{name.replace('_', ' ')} {value:g}"


def part(settings: Settings) -> str:
    """The steps that were made, counted from 0, of the noise levels' steps; "" if all were."""
    start, end, count = settings.start_step, settings.end_step, settings.steps
    if start == 0 and end is None:
        return ""
    last = "the last" if end is None else str(end - 1)
    return f"from step {start} to {last}" + ("" if count is None else f" of {count}")


def variation(settings: Settings) -> str:
    """ "0.2 of the way to seed 7", "... to seeds 7, 9"; "" where the noise is the seed's own."""
    if settings.variation is None:
        return ""
    seed, strength = settings.variation
    listed = isinstance(seed, tuple)
    to = f"seeds {', '.join(map(str, seed))}" if listed else f"seed {seed}"  # type: ignore[arg-type]
    return f"{strength:g} of the way to {to}"


def toward(settings: Settings) -> str:
    """ "0.2 of the way to a dog"; "" where the context is the prompt's own."""
    if settings.toward is None:
        return ""
    prompt, share = settings.toward
    return f"{share:g} of the way to {prompt.strip() or NONE}"


def labelled(settings: Settings) -> str:
    """The class of each image, a line each; "" where none was given."""
    labels = settings.labels
    if all(label is None for label in labels):
        return ""
    return _each([NONE if label is None else str(label) for label in labels])


def laid_out(settings: Settings) -> str:
    """ "cat 0.1 0.2 0.5 0.75, dog ..." of each image, a line each; "" where no boxes were given."""
    layouts = settings.layouts
    if all(layout is None for layout in layouts):
        return ""
    return _each([", ".join(map(_box, layout or ())) or NONE for layout in layouts])


def _box(box: tuple[str, Sequence[float]]) -> str:
    name, corners = box
    return " ".join([name, *(f"{corner:g}" for corner in corners)])


def guided(record: Record) -> str:
    """The name of the guide, and how much it steered; "" without one."""
    if record.given_guide is None:
        return ""
    name = record.given_guide.get("function") or record.given_guide.get("name", "")
    name = shortened(str(name), QUOTED)
    return f"{name}, scale {record.settings.guide_scale:g}"


def padding(settings: Settings) -> str:
    """ "left 64, right 64 pixels"; "" where no area was added."""
    if settings.pad is None:
        return ""
    sides = zip(("left", "top", "right", "bottom"), settings.pad, strict=True)
    return ", ".join(f"{side} {pixels}" for side, pixels in sides if pixels) + " pixels"


def hires(settings: Settings) -> str:
    """The second pass; "" for a run of a single pass."""
    if settings.hires is None:
        return ""
    steps = settings.hires_steps
    parts = [
        f"{settings.hires:g} times as large",
        f"strength {settings.hires_strength:g}",
        "" if steps is None else "1 step" if steps == 1 else f"{steps} steps",
        f"enlarged as {settings.hires_method}",
    ]
    return ", ".join(filter(None, parts))


def refined(settings: Settings) -> str:
    """From where a second model went on; "" if there was none."""
    start = settings.refiner_start
    return "" if start is None else f"another model from {start:.0%} of the way"


def came(parent: Parent | None) -> str:
    """How a run came from another, briefly; "" for a run of its own."""
    if parent is None:
        return ""
    known = {"branch": f"branched at step {parent.step}", "edit": "edited", "hires": "second pass"}
    return known.get(parent.how, f"another run ({shortened(parent.how, QUOTED)})")


def _ancestry(settings: Settings, parent: Parent | None) -> list[str]:
    """How a run came from another, that one from a third, ..., a line each."""
    lines: list[str] = []
    given = None if parent is None else parent.as_dict()
    while given is not None:
        above = Settings(**given["record"]["settings"])
        lines.append(_descent(settings, above, given))
        settings, given = above, given["record"].get("parent")
    return lines


def _descent(settings: Settings, above: Settings, parent: Mapping[str, Any]) -> str:
    """How a run with ``settings`` came from its parent, with the settings ``above``."""
    how = parent["how"]
    if how == "hires":
        return f"second pass, after one at {above.width} × {above.height} pixels"
    if how == "edit":
        return "edited: " + _edited(settings, above, parent.get("edit") or {})
    if how != "branch":
        return f"another run ({shortened(how, QUOTED)}), with the prompt {_quoted(above.prompt)}"
    step, seed = parent.get("step", 0), parent.get("seed")
    count = "" if above.steps is None else f" of {above.steps}"
    other = _others(settings, above)
    from_run = f" from a run with {', '.join(other)}" if other else ""
    fresh = "" if seed is None else f", with the noise of seed {_each_seed(seed)}"
    return f"branched at step {step}{count}{from_run}{fresh}"


def _others(settings: Settings, above: Settings) -> list[str]:
    """What its parent had in place of a branch's settings, in words."""
    own, its = _words(settings), _words(above)
    return [text for text, other in zip(its, own, strict=True) if text and text != other]


def _words(settings: Settings) -> list[str]:
    """The settings that a branch changes most, in words."""
    guidance, steps = settings.guidance_scale, settings.steps
    return [
        f"the prompt {_quoted(settings.prompt)}",
        f"the negative prompt {_quoted(settings.negative_prompt)}",
        "" if guidance is None else f"guidance {guidance:g}",
        "" if steps is None else "1 step" if steps == 1 else f"{steps} steps",
        settings.sampler or "",
        "" if settings.schedule == Settings.schedule else f"schedule {settings.schedule}",
    ]


def _edited(settings: Settings, above: Settings, edit: Mapping[str, Any]) -> str:
    """What an edit changed: words, or the prompt."""
    word, other, factors = (edit.get(name) for name in ("word", "replacement", "weights"))
    before, after = _quoted(above.prompt), _quoted(settings.prompt)
    parts = [f"{before} → {after}"] if before != after else []
    if isinstance(word, str):
        instead = other if isinstance(other, str) and other else "nothing"
        parts = [f"{shortened(word, QUOTED)} → {shortened(instead, QUOTED)}"]
    for name, factor in factors.items() if isinstance(factors, Mapping) else ():
        if is_number(factor):
            parts.append(f"{shortened(name, QUOTED)} × {factor:g}")
    return ", ".join(parts) or before


def _quoted(text: str | Sequence[str]) -> str:
    """The text, or the first of several, on one line in quotation marks."""
    first = text if isinstance(text, str) else text[0]
    return f"“{shortened(' '.join(first.split()), QUOTED)}”"


def _each_seed(seed: int | Sequence[int]) -> str:
    return ", ".join(map(str, [seed] if isinstance(seed, int) else seed))


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


# ------------------------------------------------------------------------- differences of runs


def _came(record: Record) -> str:
    return came(record.parent)


DIFFERENCES: tuple[Callable[[Record], str], ...] = (
    lambda record: shortened(str(record.settings.prompt), 60) or "no prompt",
    lambda record: f"without {shortened(str(record.settings.negative_prompt), 60)!r}",
    lambda record: shortened(toward(record.settings), 60),
    lambda record: shortened(labelled(record.settings).replace("\n", ", "), 60),
    lambda record: shortened(laid_out(record.settings).replace("\n", "; "), 60),
    lambda record: f"weights {record.settings.weights}",
    lambda record: f"clip skip {record.settings.clip_skip}",
    lambda record: f"at most {record.settings.chunks} chunks",
    _came,
    lambda record: f"seed {record.settings.seed}",
    lambda record: variation(record.settings),
    lambda record: f"guidance {1 if (g := record.settings.guidance_scale) is None else g:g}",
    lambda record: f"rescaled by {record.settings.guidance_rescale:g}",
    lambda record: "" if (n := record.settings.steps) is None else f"{n} steps",
    lambda record: part(record.settings),
    lambda record: record.settings.sampler or "",
    lambda record: f"schedule {record.settings.schedule}",
    lambda record: f"{record.settings.width} x {record.settings.height}",
    lambda record: hires(record.settings),
    lambda record: padding(record.settings),
    lambda record: f"window {record.settings.window}" if record.settings.window else "",
    lambda record: refined(record.settings),
    lambda record: f"strength {record.settings.strength:g}",
    lambda record: guided(record) and f"guide {guided(record)}",
    *((lambda record, name=name: told(record.settings, name)) for name in (*EVERY_OPTION, *TOLD)),  # type: ignore[misc]
    lambda record: record.task,
    lambda record: record.model,
)
"""The ways in which runs may differ, each in words; the first is the prompt."""


def changes(record: Record, above: Record) -> str:
    """How a run differs from the one from which it came, in words: "cat → dog", "guidance 7"."""
    parent = record.parent
    if parent is not None and parent.how == "edit":
        return _edited(record.settings, above.settings, parent.edit or {})
    if parent is not None and parent.how == "hires":
        return hires(record.settings) or "second pass"
    said = [_reworded(above.prompt, record.prompt)]
    others = (say for say in DIFFERENCES[1:] if say is not _came)
    said += [say(record) for say in others if say(record) != say(above)]
    if parent is not None and parent.seed is not None:
        said.append(f"noise of seed {_each_seed(parent.seed)}")
    ours, theirs = (
        [control.as_dict() for control in one.given_controls] for one in (record, above)
    )
    if ours != theirs:
        said.append("other controls" if ours else "no controls")
    return ", ".join(filter(None, said)) or "nothing changed"


def _reworded(before: str, after: str) -> str:
    """How a prompt became another, briefly; "" where they have the same words."""
    old, new = before.split(), after.split()
    parts = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changed = [(old[a:b], new[c:d]) for kind, a, b, c, d in parts if kind != "equal"]
    if len(changed) != 1 or len(changed[0][0]) == len(old):
        return _quoted(after) if changed else ""
    ((gone, come),) = changed
    if not gone:
        return "+ " + shortened(" ".join(come), QUOTED)
    if not come:
        return "− " + shortened(" ".join(gone), QUOTED)
    return f"{shortened(' '.join(gone), QUOTED)} → {shortened(' '.join(come), QUOTED)}"
