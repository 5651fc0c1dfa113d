"""From a run to its record: before the first step, and when its steps have been taken."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from PIL import Image

from .. import checks
from ..errors import InputError
from ..folders import without_folders
from ..settings import Settings
from ..sources import MOST
from ..version import __version__
from .parent import Parent
from .record import Kept, Record, Reference
from .step import TraceStep, as_array, check_steps, recorded
from .thinning import evenly
from .tokens import PromptTokens

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

R = TypeVar("R", bound=Record)


@runtime_checkable
class Recordable(Protocol):
    """A run, as far as its record needs it: `sdwidgets.pipeline.Run`, whose members these are.

    What a run was given, an ``image``, a ``mask``, a ``depth`` map, a ``label_map``,
    ``neighbours`` or ``latents``, is recorded. A run of two passes has a run for the ``first``,
    whose steps come before its own.
    """

    @property
    def model(self) -> Any: ...  # kept by a weak reference
    @property
    def model_name(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def settings(self) -> Settings: ...  # resolved
    @property
    def notices(self) -> tuple[str, ...]: ...
    @property
    def seconds(self) -> list[float]: ...  # of the steps taken so far, by their index
    def prompt_tokens(self) -> tuple[PromptTokens, ...]: ...
    def negative_tokens(self) -> tuple[PromptTokens, ...]: ...
    def __len__(self) -> int: ...  # steps of the whole run
    def __iter__(self) -> Iterator[Step]: ...  # those that are left
    def pictures(self, step: Step) -> list[Image.Image]: ...  # one for each of the batch


def run_of(steps: object) -> Recordable | None:
    """The run that yields these steps, also through a progress bar of tqdm's; None for others."""
    for one in (steps, getattr(steps, "iterable", None)):
        if isinstance(one, Recordable):
            return one
    return None


def _check_run(run: object) -> None:
    if not isinstance(run, Recordable):
        raise InputError(
            f"run must be a run, as model.sample(...) returns it, got {checks.shown(run)}.",
            parameter="run",
        )


def begun(kind: type[R], run: Recordable) -> R:
    """The record, of class ``kind``, of a run before its first step: what was asked."""
    _check_run(run)
    model, latents = run.model, getattr(run, "latents", None)
    depth, guide = getattr(run, "depth", None), getattr(run, "guide", None)
    sigmas = getattr(getattr(model, "schedule", None), "sigmas", ())
    return kind(
        model=run.model_name,
        task=run.task,
        settings=run.settings,
        tokens=run.prompt_tokens(),
        negative_tokens=run.negative_tokens(),
        expected=len(run),
        complete=False,
        notices=tuple(map(without_folders, run.notices)),
        versions=_versions(),
        fingerprint=getattr(model, "fingerprint", ""),
        prediction=getattr(model, "prediction", ""),
        prediction_source=getattr(model, "prediction_source", ""),
        given_image=getattr(run, "image", None),
        given_mask=getattr(run, "mask", None),
        given_depth=None if depth is None else as_array(depth),
        given_label_map=getattr(run, "label_map", None),
        given_neighbours=tuple(getattr(run, "neighbours", ())),
        given_latents=None if latents is None else as_array(latents),
        given_guide=None if guide is None else _plain_guide(guide),
        guide_ref=None if guide is None else Kept(guide),
        given_controls=tuple(getattr(getattr(run, "controls", None), "given", ())),
        factors=getattr(model, "preview_factors", None),
        schedule_sigmas=tuple(float(sigmas[i]) for i in evenly(len(sigmas), 100)),
        model_ref=None if model is None else Reference(model),
        sources=tuple(getattr(run, "sources", getattr(model, "sources", ())))[:MOST],
        parent=getattr(run, "parent", None),
    )


def _plain_guide(guide: Any) -> dict[str, Any]:
    """A guide as `guides.plain` returns it."""
    from ..guides import plain  # needs torch, as a guided run did

    return plain(guide)


def finished(kind: type[R], steps: Iterable[Step], run: Recordable | None = None) -> R:
    """The record, of class ``kind``, of a run whose steps are taken here; see `Trace.of`."""
    run = run_of(steps) if run is None else run
    if run is None:
        raise InputError(
            "Steps alone do not say what was asked: give the run, too.\n"
            f"Trace.of(model.sample(...)), or Trace.of(steps, run); got {checks.shown(steps)}.",
            parameter="run",
        )
    _check_run(run)
    taken: list[Step] = []
    try:
        taken.extend(_iterated(steps))
        if not taken and run_of(steps) is not None and getattr(run, "last", None) is not None:
            taken.append(run.last)  # type: ignore[attr-defined]  # all were taken before
        check_steps(taken)
        images = tuple(run.pictures(taken[-1])) if taken else ()
        parent = _first_pass(kind, taken, run)
    except BaseException:
        taken.clear()  # an error keeps this frame alive, and out of memory it must keep nothing
        raise
    record = begun(kind, run)
    notices = record.notices
    if any(image.getcolors(1) for image in images):  # None for more than one colour
        notices += ("An image came out in one flat colour: the settings do not suit it.",)
    return replace(
        record,
        steps=steps_of(taken, run),
        images=images,
        complete=bool(taken) and taken[-1].index == len(run) - 1,
        notices=notices,
        run_seconds=sum(run.seconds),
        parent=record.parent or parent,  # an edit in two passes came from the run that it edits
    )


def _first_pass(kind: type[R], taken: list[Step], run: Recordable) -> Parent | None:
    """The first pass as the parent of the second, whose steps alone are left in ``taken``; None
    for a run of a single pass, or that was stopped in the first."""
    first: Recordable | None = getattr(run, "first", None)
    if first is None or not taken or taken[-1].index < len(first):
        return None
    steps = [step for step in taken if step.index < len(first)]
    del taken[: len(steps)]
    last = getattr(first, "last", None)  # those before were perhaps taken elsewhere
    return Parent.of("hires", finished(kind, steps or ([] if last is None else [last]), first))


def _iterated(steps: Iterable[Step]) -> Iterator[Step]:
    try:
        return iter(steps)
    except Exception:  # __iter__ may raise anything
        raise InputError(
            f"steps must be a run or a list of its steps, got {checks.shown(steps)}.",
            parameter="steps",
        ) from None


def steps_of(steps: Sequence[Step], run: Recordable) -> tuple[TraceStep, ...]:
    """The records of the steps that were taken from a run so far."""
    return tuple(_recorded(steps, run.seconds, getattr(run, "own_steps", {})))


def _recorded(
    steps: Sequence[Step], seconds: Sequence[float], own: Mapping[int, TraceStep]
) -> Iterator[TraceStep]:
    """The records of consecutive steps, each sharing its latents with the next.

    ``own``: those that are recorded already, by their index.
    """
    before: tuple[Step, TraceStep] | None = None
    for step in steps:
        if step.index in own:
            yield own[step.index]
            before = step, own[step.index]
            continue
        follows = before is not None and step.x is before[0].x_next
        took = seconds[step.index] if step.index < len(seconds) else None
        one = recorded(step, took, before[1] if before and follows else None)
        yield one
        before = step, one


def _versions() -> dict[str, str]:
    torch = sys.modules.get("torch")  # it is what ran; nothing here needs it
    return {
        "sdwidgets": __version__,
        **({"torch": str(torch.__version__)} if torch else {}),
        "python": platform.python_version(),
    }
