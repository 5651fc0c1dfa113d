"""A training as it goes on: the images it makes, its loss, the time left; pause and stop.

It watches any iterator of training steps (see `curve.TrainStep`). To pause is not to ask for the
next step, and to stop is to close the iterator; nothing here knows how a step is made.
"""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TypeVar

import anywidget
import traitlets
from PIL import Image

from ..checks import shown
from ..contract import numbered
from ..daemon import start_daemon
from ..ending import after_sigterm
from ..errors import Busy, InputError
from ..frontend import Code
from ..trace.images import encode_png
from . import kernel
from .curve import Curve, TrainStep, checked, checked_count
from .grids import Grids, on_page
from .life import Living
from .pace import Answer, Pace
from .waiting import wait
from .watching import Harmless, Watched, in_words

INTERVAL = 0.1
"""Seconds between two updates of the page, at least; the first and the last are always sent."""

GRIDS = numbered("grid")
"""The traits that hold the images."""

Pictures = Callable[[], Any]
AnyView = TypeVar("AnyView", bound="TrainingView")


class TrainingView(Living, anywidget.AnyWidget):
    """A view of a training while it goes on, with Pause and Stop; the notebook stays usable.

    Example::

        view = sdw.TrainingView()
        display(view)
        steps = training.train(task, training.Plan(steps=500), "runs/mine.pt")
        view.start(steps, pictures=task.samples, every=50)    # returns at once
        view.pause(); view.resume(); view.stop()              # also buttons in the view
        view.wait()                                           # for the end; raises what ended it

        for step in view.watch(steps, pictures=task.samples): # or in a loop of your own
            ...

    ``pictures()`` is called after the first step, every ``every`` steps and after the last, on the
    thread of the training, between two steps.
    """

    _esm = Code("training.js")
    _css = Code("training.css")

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """The model's id, by which a page asks for its kernel."""

    run: traitlets.Dict[str, Any] = traitlets.Dict({"id": 0, "state": "idle", "message": ""}).tag(
        sync=True
    )
    """``id`` of the training, its ``state`` (idle, running, pausing, paused, stopping, done,
    stopped, error) and one line of ``message``, up to three for an error."""

    numbers: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    """The newest step: ``step`` of ``steps``, the ``seconds`` it took, ``rate`` in samples per
    second, seconds ``left``, learning rate ``lr``, ``means`` of values by name. None if unknown."""

    curve = traitlets.Bytes().tag(sync=True)
    """The plot, float32 [steps, 1 + 2 * names]; see `Curve.table`."""

    names: traitlets.List[str] = traitlets.List().tag(sync=True)
    """The names of the plotted values, "loss" first."""

    # grid0 to grid23, the images of one step each: {} or what `grids.on_page` makes. Each is a
    # trait, so that it is sent once, and is there after a reload and in a saved notebook.
    locals().update({name: traitlets.Dict().tag(sync=True) for name in GRIDS})

    def __init__(self, **kwargs: Any):
        self.lock = threading.RLock()
        self._run: Run | None = None
        self._curve, self._grids = Curve(), Grids()
        self._pace = Pace(INTERVAL)
        self._answer = Answer(lambda: self.send({"kind": "hello"}))
        super().__init__(**kwargs)
        self.set_trait("uid", str(self.model_id))
        self._begin()

    def set_state(self, sync_data: Any) -> None:
        """Does nothing: every trait is the kernel's, and a front end that sets one is at fault."""

    # ------------------------------------------------------------------------------ from Python

    @property
    def steps(self) -> tuple[TrainStep, ...]:
        """The steps so far, oldest first: all of up to 300, every n-th of more."""
        with self.lock:
            return self._curve.steps

    @property
    def images(self) -> dict[int, Image.Image]:
        """The sheets of images kept, by the number of steps done."""
        with self.lock:
            grids = [getattr(self, GRIDS[slot]) for slot in self._grids.slots()]
        return {grid["step"]: Image.open(io.BytesIO(grid["data"])) for grid in grids}

    def start(
        self: AnyView,
        steps: Iterable[TrainStep],
        *,
        pictures: Pictures | None = None,
        every: int = 50,
        columns: int | None = None,
        samples_per_step: int | None = None,
        prompts: Sequence[str] | None = None,
    ) -> AnyView:
        """Train on a thread of its own; returns the view itself, at once.

        ``pictures()`` gives uint8 [N, H, W, 3] (or floats from 0 to 1, or a list of images),
        shown in rows of ``columns``. ``samples_per_step`` is the batch size; with it the
        view shows samples per second. ``prompts``: those of the images, in turn; by default
        the ``prompts`` of the task whose method ``pictures`` is. Raises Busy while another training
        goes on here, and if no thread can be started.
        """
        run = Run(steps, pictures, every, columns, samples_per_step, prompts)
        self._check_open()
        after_sigterm()
        with self.lock:
            self._show(run)
            try:
                run.thread = start_daemon(
                    "sdwidgets training",
                    _exhaust,
                    self._passing(run),
                    end=run.stop,
                    patience=math.inf,  # its checkpoint is worth it
                )
            except Busy as error:
                run.error = error
                self._conclude(run, "error", in_words(error))
                raise
        if kernel.in_colab():  # a thread's updates are not painted there after the cell
            self.wait()
        return self

    def watch(
        self,
        steps: Iterable[TrainStep],
        *,
        pictures: Pictures | None = None,
        every: int = 50,
        columns: int | None = None,
        samples_per_step: int | None = None,
        prompts: Sequence[str] | None = None,
    ) -> Watched:
        """The same steps, each shown as it passes, for your own loop; see `start`.

        While paused, the loop waits for its next step; after Stop there is none.
        """
        run = Run(steps, pictures, every, columns, samples_per_step, prompts)

        def watched() -> Generator[TrainStep, None, None]:
            self._check_open()
            with self.lock:
                self._show(run)
                run.passing = self._passing(run)
            yield from run.passing

        return Watched(steps, watched())  # type: ignore[arg-type]  # steps, of whatever kind

    def pause(self) -> None:
        """Pause after this step, until `resume`."""
        self._ask("pausing", "Pausing after this step")

    def resume(self) -> None:
        """Continue after a pause."""
        self._ask("running", "Training")

    def stop(self) -> None:
        """End the training after this step. Its checkpoint is whole."""
        self._ask("stopping", "Stopping after this step")

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the training has ended, by itself or stopped.

        Raises what ended it, and TimeoutError after ``timeout`` seconds. Ctrl-C stops the training
        and raises KeyboardInterrupt. Raises Busy on the training's own thread, where waiting would
        never end.
        """
        self._check_process()
        run = self._run
        if run is None:
            return
        wait(run.over, timeout, what="The training", is_here=run.is_here, stop=self.stop)
        if run.error is not None:
            raise run.error.with_traceback(None)

    def close(self) -> None:
        """End the training, wait until its checkpoint is whole, and take the widget off every page.
        Your own loop gets no further step."""
        super().close()

    def _end(self) -> None:
        self.stop()
        run = self._run
        if run is not None and run.thread is None:
            run.abandon()
        elif run is not None and not run.is_here:
            kernel.wait_for(run.over)  # else the same cell, run again, would train beside it

    # -------------------------------------------------------------------------------- the steps

    def _show(self, run: Run) -> None:
        """Show this training from now on; that of an abandoned loop is ended."""
        self._check_open()
        before = self._run
        if before is not None and not before.over.is_set():
            if before.thread is not None:
                raise Busy(
                    "A training already goes on in this view.\n"
                    "End it with view.stop() and view.wait()."
                )
            before.abandon()
        self._run = run
        self._curve, self._grids = Curve(), Grids()
        with self.hold_sync():
            for name in GRIDS:
                setattr(self, name, {})
            self.numbers, self.curve, self.names = {}, b"", []
            number = self.run["id"] + 1
            self.run = {"id": number, "state": "running", "message": "Getting ready"}

    def _passing(self, run: Run) -> Generator[TrainStep, None, None]:
        """The steps of a training, as long as it may go on."""
        state, message, count = "stopped", "Stopped before the first step", 0
        try:
            iterator = iter(run.steps)
            try:
                while self._goes_on(run):
                    step = next(iterator, None)
                    if step is None:
                        state, message = "done", f"Done: {count} steps"
                        break
                    count += 1
                    message = f"Stopped after step {checked(step).index + 1}"
                    self._take(run, step)
                    yield step
            finally:
                _close(iterator, run.steps)  # what it leaves behind is whole after that
                run.steps = ()
        except Exception as error:
            run.error = error
            state, message = "error", in_words(error)
            raise
        finally:
            self._conclude(run, state, message)

    def _goes_on(self, run: Run) -> bool:
        """Whether to make another step. Waits during a pause."""
        with self.lock:
            paused = not run.go.is_set() and not run.stopping
            if paused and self._run is run:
                self._update(run, everything=True)
                after = (
                    f"after step {run.newest.index + 1}" if run.newest else "before the first step"
                )
                self._say("paused", f"Paused {after}")
        if paused:
            began = time.perf_counter()
            if run.thread is None:
                kernel.wait_for(run.go)  # open to Ctrl-C
            else:
                run.go.wait()
            run.rested += time.perf_counter() - began
        return not run.stopping

    def _take(self, run: Run, step: TrainStep) -> None:
        """Show a step, and have images made when it is time."""
        run.take(step)
        with self.lock, run.harmless:
            if self._run is run:
                self._curve.add(step)
        if run.wants_pictures:
            self._make_pictures(run)
        if run.count == 1:
            run.first = time.perf_counter()  # the first step brings what is done once
        with self.lock:
            if self._run is run:
                if run.count == 1 and self.run["state"] == "running":
                    self._say("running", "Training")
                self._update(run, everything=run.count == 1)

    def _make_pictures(self, run: Run) -> None:
        """If that fails, the view says so and does not try again; the training goes on."""
        try:
            run.grid = run.make_pictures()
        except Exception as error:
            run.pictures = None
            run.remark = f"No more images: {in_words(error)}"
            with self.lock:
                if self._run is run and self.run["state"] == "running":
                    self._say("running", "Training")

    def _update(self, run: Run, *, everything: bool = False) -> None:
        """Tell the page what is new, if it is time; with ``everything`` in any case."""
        if run.newest is None or (self._pace.left() > 0 and not everything):
            return
        self._pace.sent()
        with run.harmless, self.hold_sync():
            if run.grid is not None:
                slot, empty = self._grids.add()
                for one in empty:
                    setattr(self, GRIDS[one], {})
                setattr(self, GRIDS[slot], run.grid)
                run.grid = None
            self.numbers = run.numbers() | {"means": self._curve.means()}
            self.names = [*self._curve.names]
            self.curve = self._curve.table().astype("<f4").tobytes()

    def _conclude(self, run: Run, state: str, message: str) -> None:
        with self.lock:
            if self._run is run:
                with run.harmless, self.hold_sync():
                    self._update(run, everything=True)
                    self._say(state, message)
                self._redraw()
            run.over.set()

    # ------------------------------------------------------------------------------- the states

    def _ask(self, state: str, message: str) -> None:
        """Let the training run, pause or stop as soon as it can."""
        with self.lock:
            run = self._run
            if run is None or run.over.is_set() or run.stopping:
                return
            if state == "pausing":
                run.go.clear()
            else:
                run.stopping = state == "stopping"
                run.go.set()
            if not (state == "pausing" and self.run["state"] == "paused"):
                self._say(state, message)

    def _say(self, state: str, message: str) -> None:
        remark = self._run.remark if self._run is not None and state != "error" else ""
        words = "\n".join([*filter(None, (message, remark))])
        self.run = {"id": self.run["id"], "state": state, "message": words}

    def _complain(self, error: Exception) -> None:
        with self.lock:
            self.run = {**self.run, "message": in_words(error)}

    def _receive(self, message: Any, buffers: Any) -> None:
        """A message of the page; nonsense is ignored."""
        kind = message.get("kind") if isinstance(message, dict) else None
        if kind == "pause":
            self.pause()
        elif kind == "resume":
            self.resume()
        elif kind == "stop":
            self.stop()
        elif kind == "hello":  # a page was (re)loaded and asks whether a kernel is there
            self._answer()

    # -------------------------------------------------------------------------------- as output

    _instead = "Send the training's checkpoint, and watch it there in a view of its own."

    def __repr__(self) -> str:
        step, steps = self.numbers.get("step", 0), self.numbers.get("steps", 0)
        if not step:
            return f"TrainingView: {self.run['state']}"
        loss = self.numbers["means"]["loss"]
        known = "" if loss is None else f", loss {loss:.3g}"
        return f"TrainingView: step {step} of {steps}{known}, {self.run['state']}"

    def _still(self) -> bytes | None:
        """The newest images."""
        newest = [*self.images.values()][-1:]
        return encode_png(newest[0]) if newest else None


class Run:
    """A training in the view: what was asked for, and how far it has come."""

    def __init__(
        self,
        steps: Iterable[TrainStep],
        pictures: Pictures | None,
        every: int,
        columns: int | None,
        samples: int | None,
        prompts: Sequence[str] | None,
    ):
        if not isinstance(steps, Iterable):
            raise InputError(
                f"steps must be an iterator of training steps, got a {type(steps).__name__}.\n"
                "For example: training.train(task, plan)",
                parameter="steps",
            )
        if pictures is not None and not callable(pictures):
            raise InputError(
                f"pictures must be a function that makes them, got a {type(pictures).__name__}.\n"
                "For example: pictures=task.samples, without brackets",
                parameter="pictures",
            )
        self.steps, self.pictures = steps, pictures
        if prompts is None:
            prompts = getattr(getattr(pictures, "__self__", None), "prompts", ())
        self.prompts = _checked_prompts(prompts)
        self.every = checked_count("every", every)
        self.columns = None if columns is None else checked_count("columns", columns)
        self.samples = None if samples is None else checked_count("samples_per_step", samples)
        self.thread: threading.Thread | None = None
        self.passing: Generator[TrainStep, None, None] | None = None  # to the user's own loop
        self.go, self.over = threading.Event(), threading.Event()
        self.go.set()
        self.stopping = False
        self.error: BaseException | None = None
        self.remark = ""  # what failed without ending the training
        self.harmless = Harmless()
        self.count = 0  # steps so far
        self.newest: TrainStep | None = None
        self.first = self.last = math.nan  # when the first step was done, and the newest
        self.rested = 0.0  # seconds of pauses since
        self.grid: dict[str, Any] | None = None  # images that the page does not have yet
        self._seconds = 0.0  # for a step, a running mean

    @property
    def is_here(self) -> bool:
        """Whether this is the training's own thread."""
        return self.thread is threading.current_thread()

    def stop(self) -> None:
        """Ask for no further step."""
        self.stopping = True
        self.go.set()

    def abandon(self) -> None:
        """End a loop that was left in the middle, by an error for instance."""
        self.stop()
        if self.passing is not None:
            try:
                self.passing.close()
            except ValueError:  # it is at work on another thread, and ends after its step
                return
        self.over.set()

    def take(self, step: TrainStep) -> None:
        self.count += 1
        self.newest, self.last = step, time.perf_counter()
        over = min(self.count - 1, 20) or 1  # the first, with what is done once, is forgotten
        self._seconds += (float(step.seconds) - self._seconds) / over

    @property
    def wants_pictures(self) -> bool:
        """Whether images are to be made after the newest step."""
        if self.pictures is None or self.newest is None:
            return False
        done = self.newest.index + 1
        return self.count == 1 or done % self.every == 0 or done == self.newest.total

    def make_pictures(self) -> dict[str, Any]:
        """A sheet of them, see `grids.on_page`."""
        assert self.pictures is not None and self.newest is not None
        return on_page(self.pictures(), self.newest.index + 1, self.columns, self.prompts)

    def numbers(self) -> dict[str, Any]:
        """The page's numbers of the newest step; None for what is unknown or not finite."""
        assert self.newest is not None
        step = self.newest
        done = step.index + 1
        going = self.last - self.first - self.rested
        left = going / (self.count - 1) * (step.total - done) if self.count > 1 else math.nan
        return {
            "step": done,
            "steps": int(step.total),
            "seconds": _finite(self._seconds),
            "rate": self.samples / self._seconds if self.samples and self._seconds > 0 else None,
            "left": _finite(max(left, 0.0)),
            "lr": _finite(float(step.lr)),
        }


def _checked_prompts(prompts: object) -> tuple[str, ...]:
    is_list = isinstance(prompts, Sequence) and not isinstance(prompts, str)
    if not is_list or not all(isinstance(prompt, str) for prompt in prompts):  # type: ignore[attr-defined]
        raise InputError(
            f"prompts must be a list of texts, got {shown(prompts)}.", parameter="prompts"
        )
    return tuple(prompts)  # type: ignore[arg-type]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _close(iterator: object, steps: object) -> None:
    """Close the source of the steps, also behind a progress bar."""
    for one in (iterator, steps, getattr(steps, "iterable", None)):
        close = getattr(one, "close", None)
        if callable(close):
            close()


def _exhaust(passing: Generator[TrainStep, None, None]) -> None:
    """Let all steps pass. What ends them is kept in the run and shown in the view."""
    try:
        for _ in passing:
            pass
    except Exception:
        return
