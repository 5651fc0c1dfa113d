"""Watching steps as they pass: one way for the picture and for the viewers, and what is said."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SDWidgetsError
from ..trace.recording import Recordable, run_of
from ..trace.step import TraceStep
from ..trace.trace import Trace

if TYPE_CHECKING:
    from ..diffusion.samplers import Step

log = logging.getLogger(__name__)


class Watching:
    """A widget that shows steps while they pass; what it does with them, its class says.

    All of it happens on the thread of the loop. Of two loops that it watches at once it shows the
    one that began last: the number that ``_begin`` gave tells them apart.
    """

    def watch(self, steps: Iterable[Step]) -> Watched:
        """The same steps, each shown as it passes; at the end of a model's run, its picture, too.

        ``steps``: a run (``model.sample(...)``), which knows its prompt, or any other iterable of
        steps. Of those the values are copied: a loop may change its tensors in place. What fails
        in showing them is said, in the view or in the log, and ends no loop. A progress bar may be
        on either side: ``tqdm(view.watch(run))``, ``view.watch(tqdm(run))``.
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
                message = f"Stopped after step {count}"
                seconds = run.seconds[-1] if run is not None and run.seconds else None
                self._take(number, own(last) if run is None else last, seconds)
                yield last
            result, message = "done", f"Done: {count} steps"
            if self._settle(number) and run is not None and last is not None:
                result, message = decoded(run, last, count)
        except Exception as error:
            result, message = "error", in_words(error)
            raise
        finally:
            self._finish(number, result, message)

    def _start(self, steps: Iterable[Step], run: Recordable | None) -> int:
        """Begin to show these steps, of that run if they are of one; returns a number for them."""
        raise NotImplementedError

    def _take(self, number: int, step: Step, seconds: float | None) -> None:
        """Show a step, which took ``seconds``, if those of that number are on show still."""
        raise NotImplementedError

    def _settle(self, number: int) -> bool:
        """No more steps come: send what waits. Whether those of that number are on show still."""
        raise NotImplementedError

    def _finish(self, number: int, result: Trace | str, message: str) -> None:
        """Show how it ended, likewise: a run's record, or "done", "stopped" or "error"."""
        raise NotImplementedError


class Watched(Iterator["Step"]):
    """Steps that pass through a view; as many, as far as ``steps`` knows their number."""

    def __init__(self, steps: Iterable[Step], passing: Generator[Step, None, None]):
        self._steps, self._passing = steps, passing

    def __next__(self) -> Step:
        return next(self._passing)

    def __len__(self) -> int:
        return len(self._steps)  # type: ignore[arg-type]  # TypeError, as of any generator

    def close(self) -> None:
        """End the watching, and with it the run, here."""
        self._passing.close()


def own(step: Any) -> Any:
    """The step with copies of its tensors and arrays. A record has its own already."""
    if isinstance(step, TraceStep) or not is_dataclass(step):
        return step
    values = {one.name: _copy(getattr(step, one.name)) for one in fields(step) if one.init}
    return replace(step, **values)  # type: ignore[type-var]  # no class is among them


def _copy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.detach().clone() if hasattr(value, "detach") else value


def decoded(run: Recordable, last: Step, count: int) -> tuple[Trace | str, str]:
    """How a run of so many steps has ended, and what to say: its record, with its picture.

    The loop is not this file's: that its picture cannot be made is said, and ends nothing.
    """
    try:
        trace = Trace.of((last,), run)
    except Exception as error:
        log.warning("The picture of a run cannot be shown.", exc_info=True)
        return "error", in_words(error)
    return trace, report(trace, count)


class Harmless(contextlib.AbstractContextManager[None]):
    """``with`` this a run does not fail because it cannot be shown: that is said once in the log.

    What ends a run, an interrupt, passes.
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
    """What to say about a finished run of so many steps, of which its record may have fewer."""
    took = f" in {trace.total:.1f} s" if trace.total else ""
    return "\n".join([f"Done: {steps} steps{took}", *trace.notices])


def in_words(error: BaseException) -> str:
    """What the page says about an exception: three lines at most."""
    message = str(error)
    if not isinstance(error, SDWidgetsError):
        message = f"{type(error).__name__}: {message}"
    return "\n".join(message.splitlines()[:3])[:600]
