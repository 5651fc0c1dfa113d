"""Watching steps as they pass, for every view of a run, and the messages about it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SDWidgetsError
from ..folders import without_folders
from ..trace.recording import Recordable, run_of
from ..trace.step import TraceStep
from ..trace.trace import Trace

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

log = logging.getLogger(__name__)


class Watching:
    """Mixin of a widget that shows steps as they pass; its class says how.

    Everything happens on the loop's thread. If two loops are watched at once, the later one is
    shown; the number from ``_start`` tells them apart.
    """

    def watch(self, steps: Iterable[Step]) -> Watched:
        """Yield the same steps and show each as it passes, then the image of a model's run.

        ``steps``: a run (``model.sample(...)``), which knows its prompt, or any iterable of steps.
        The values of other steps are copied, since a loop may change its tensors in place. An error
        in showing a step is reported in the view or the log and never ends the loop. A progress bar
        may be on either side: ``tqdm(view.watch(run))``, ``view.watch(tqdm(run))``.
        """
        return Watched(steps, self._watched(steps))

    def _watched(self, steps: Iterable[Step]) -> Generator[Step, None, None]:
        run = run_of(steps)
        number = self._start(steps, run)
        result: Trace | str = "stopped"
        message, last, count = "Stopped before the first step", None, 0
        try:
            for last in steps:
                count += 1
                message = f"Stopped after {counted(count)}"
                seconds = run.seconds[-1] if run is not None and run.seconds else None
                self._take(number, own(last) if run is None else last, seconds)
                yield last
            result, message = "done", f"Done: {counted(count)}"
            if self._settle(number) and run is not None and last is not None:
                result, message = decoded(run, last, count)
        except Exception as error:
            result, message = "error", in_words(error)
            raise
        finally:
            self._finish(number, result, message)

    def _start(self, steps: Iterable[Step], run: Recordable | None) -> int:
        """Start showing these steps, which belong to ``run`` if given; return a number for them."""
        raise NotImplementedError

    def _take(self, number: int, step: Step, seconds: float | None) -> None:
        """Show a step that took ``seconds``, if the steps of that number are still on show."""
        raise NotImplementedError

    def _settle(self, number: int) -> bool:
        """Send waiting steps, as no more come; return whether that number is still on show."""
        raise NotImplementedError

    def _finish(self, number: int, result: Trace | str, message: str) -> None:
        """Show the end, if still on show: a run's record, or "done", "stopped" or "error"."""
        raise NotImplementedError


class Watched(Iterator["Step"]):
    """Steps that pass through a view. It has a length if ``steps`` has one."""

    def __init__(self, steps: Iterable[Step], passing: Generator[Step, None, None]):
        self._steps, self._passing = steps, passing

    def __next__(self) -> Step:
        return next(self._passing)

    def __len__(self) -> int:
        return len(self._steps)  # type: ignore[arg-type]  # TypeError, as for any generator

    def close(self) -> None:
        """Stop watching, which ends the run."""
        self._passing.close()


def own(step: Any) -> Any:
    """The step with copies of its tensors and arrays; a record already has its own."""
    if isinstance(step, TraceStep) or not is_dataclass(step):
        return step
    values = {one.name: _copy(getattr(step, one.name)) for one in fields(step) if one.init}
    return replace(step, **values)  # type: ignore[type-var]  # no class is among them


def _copy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.detach().clone() if hasattr(value, "detach") else value


def decoded(run: Recordable, last: Step, count: int) -> tuple[Trace | str, str]:
    """The record of a finished run, with its image, and the message about it.

    If the image cannot be made, the result is "error" with its message: the caller's loop must not
    fail.
    """
    try:
        trace = Trace.of((last,), run)
    except Exception as error:
        log.warning("The image of a run cannot be shown.", exc_info=True)
        return "error", in_words(error)
    return trace, report(trace, count)


class Harmless(contextlib.AbstractContextManager[None]):
    """Context manager that keeps a run alive if showing it fails; the first error is logged.

    Interrupts pass through.
    """

    def __init__(self) -> None:
        self._said = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self._said:
            log.warning("A step cannot be shown; the run goes on.", exc_info=error)
        self._said = True
        return True


def report(trace: Trace, steps: int) -> str:
    """The message about a finished run of ``steps`` steps; its record may have fewer."""
    took = f" in {trace.total:.1f} s" if trace.total else ""
    return "\n".join([f"Done: {counted(steps)}{took}", *trace.notices])


def counted(steps: int) -> str:
    """How many steps: "1 step" or "20 steps"."""
    return "1 step" if steps == 1 else f"{steps} steps"


def in_words(error: BaseException) -> str:
    """The page's message about an exception, at most three lines, without folders."""
    message = without_folders(str(error))
    if not isinstance(error, SDWidgetsError):
        message = f"{type(error).__name__}: {message}"
    return "\n".join(message.splitlines()[:3])[:600]
