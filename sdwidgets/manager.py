"""Models by name, kept within the available memory, and the thread that runs them.

Runs take turns on one worker thread, because two at once only slow each other down. The thread
starts when there is work and ends when there is none left. Nothing here knows Jupyter. Torch is
imported on the worker, so that a widget can be drawn before.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import math
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from . import checks
from .checkpoints.zoo import bundled_models
from .checks import shown
from .daemon import start_daemon
from .errors import Busy, InputError, OutOfMemory, Stopped
from .frames import without_frames
from .loras import Lora, LoraLike, loras_of
from .pictures import PictureLike, Start
from .settings import AttentionSettings, Settings, amount, controls_of
from .sources import MOST, LocalFile, Source, differences

if TYPE_CHECKING:
    import torch

    from .control import Control
    from .diffusion import Step
    from .pipeline import LatentDiffusion
    from .run import Run
    from .trace import Trace
    from .trace.branching import Branch
    from .trace.editing import Edit

State = Literal["queued", "loading", "running", "done", "stopped", "error"]
FINAL: tuple[State, ...] = ("done", "stopped", "error")
Make: TypeAlias = "Callable[[Job, LatentDiffusion, LatentDiffusion | None], Trace | None]"
"""Makes the run of a job in the manager's place: from the job, its model and its refiner."""
DEFAULT_MODEL = "emoji"
PACED = 9
"""Times of a run that tell its pace: those of its last steps, and at first that of its begin."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A run to be submitted: the model and the arguments of `LatentDiffusion.sample`.

    ``model``: a bundled name, a path, or the hub's "owner/name". ``image``, ``mask``, ``depth``,
    ``label_map``, ``low_res``, ``neighbours`` and ``guide``: as in `LatentDiffusion.sample`.
    ``attention``: record where the words look. ``control``: what the run follows; a network that is
    named by its path is loaded when the run begins. ``sources``:
    those that the model and the controls are expected to have, as in `Trace.sources`; if they have
    others, the run and its record have a notice. ``loras``: files of LoRAs to apply to the model,
    each a path, (path, strength) or (path, strength, text_strength). ``refiner``: the name of the
    model that makes the last steps, which is kept beside the first. ``branch``, ``edit``:
    what `Trace.branching` or `Trace.editing` returned, whose settings are given with it; attention,
    control and images are its own.
    """

    model: str
    settings: Settings
    image: PictureLike | None = None
    mask: PictureLike | None = None
    attention: bool | AttentionSettings = False
    sources: tuple[Source, ...] = ()
    depth: PictureLike | None = None
    loras: Sequence[LoraLike] = ()
    control: Control | Sequence[Control] = ()
    refiner: str | None = None
    branch: Branch | None = None
    edit: Edit | None = None
    label_map: PictureLike | None = None
    low_res: PictureLike | None = None
    neighbours: Sequence[PictureLike] | None = None
    guide: Callable[[Any], Any] | None = None


class Job:
    """A submitted run. Any thread may read it, wait for it and cancel it.

    ``id``: a unique number. ``request``: the request, with its settings as checked. ``state``:
    "queued", "loading", "running", and at the end "done", "stopped" or "error". ``message``: what
    it is doing, or how it ended, in words ("Waiting for another run", "Importing PyTorch"); ""
    where there is nothing to say. ``ahead``: the number of jobs before it in the queue, with the
    running one. ``step``: how many of its ``steps`` are done; both are 0 before it runs.
    ``error``: the exception of a failed run, without its frames, which would keep the run's tensors
    alive; ``traceback``: the frames as text.
    """

    def __init__(
        self,
        manager: ModelManager,
        number: int,
        model: str,
        request: Request | None,
        on_run: Callable[[Run], object] | None = None,
        on_step: Callable[[Step], object] | None = None,
        on_state: Callable[[State], object] | None = None,
        on_model: Callable[[LatentDiffusion], object] | None = None,
        on_message: Callable[[str], object] | None = None,
        start: Start | None = None,
        make: Make | None = None,
    ):
        self.id = number
        self.request = request  # None: only load the model
        self.state: State = "queued"
        self.message = ""
        self.ahead = 0
        self.step = 0
        self.steps = 0
        self.error: BaseException | None = None
        self.traceback = ""
        self._times: deque[float] = deque(maxlen=PACED)  # when its last steps were done
        self._began: float | None = None
        self._ended: float | None = None
        self._model_name = model
        self._manager = manager
        self._start = start
        self._make = make
        self._on_run = on_run
        self._on_step = on_step
        self._on_state = on_state
        self._on_model = on_model
        self._on_message = on_message
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._trace: Trace | None = None
        self._complained = False

    def __repr__(self) -> str:
        return f"Job({self.id}, {self._model_name!r}): {self.state}"

    @property
    def model(self) -> str:
        """The name of its model."""
        return self._model_name

    @property
    def seconds(self) -> float | None:
        """The seconds since its run began, or which the run took; None before."""
        if self._began is None:
            return None
        return (time.monotonic() if self._ended is None else self._ended) - self._began

    @property
    def eta(self) -> float | None:
        """The seconds until its last step is done, by the pace of the latest; None if unknown."""
        times = [*self._times]
        if len(times) < 2 or self.state != "running":
            return None
        pace = (times[-1] - times[0]) / (len(times) - 1)
        return max(times[-1] + pace * (self.steps - self.step) - time.monotonic(), 0.0)

    def cancel(self) -> None:
        """Stop the run: at once if it waits, within a step if it runs. Returns without waiting."""
        self._stop.set()
        self._manager._check_process()
        if self._manager._take_back(self):
            self._end("stopped", "Stopped before it began.")
            self._finished.set()
            self._manager._tell_queue()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds until the run has ended; return whether it has.

        Ctrl-C while waiting cancels the run. Raises ``Busy`` on the worker thread (in a callback),
        where it would wait for ever, and in a process that was forked meanwhile.
        """
        self._manager._check_process()
        if timeout is not None:
            timeout = checks.real("timeout", timeout, -math.inf, math.inf)
        if self._manager._is_worker():
            if self.state in FINAL:
                return True
            raise Busy(
                "A run cannot wait for a run from inside a callback.\n"
                "Submit it there, and wait for it outside."
            )
        end = math.inf if timeout is None else time.monotonic() + timeout
        try:
            # Short waits: on some systems a long wait cannot be interrupted.
            while not self._finished.wait(max(min(end - time.monotonic(), 0.1), 0)):
                if time.monotonic() >= end:
                    return False
        except KeyboardInterrupt:
            self.cancel()
            raise
        return True

    def result(self, timeout: float | None = None) -> Trace:
        """Wait, and return the record of the run.

        Raises what the run raised; ``Stopped`` if it was stopped; ``TimeoutError`` if it has not
        ended after ``timeout`` seconds, while it goes on; ``Busy`` inside a callback of a run.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"The run has not ended after {timeout} seconds; it goes on.")
        self._raise_if_failed()
        if self._trace is None:
            raise InputError("This job only loaded a model, so it has no result.")
        return self._trace

    def _raise_if_failed(self) -> None:
        if self.state == "stopped":
            raise Stopped(self.message)
        if self.error is not None:
            raise self.error.with_traceback(None)

    # For what makes the run in the manager's place.

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def made(self, step: int, steps: int) -> None:
        """Say that ``step`` of ``steps`` steps are done; on the worker."""
        if self._began is None or steps != self.steps:
            self._times.clear()
            self._begin(steps)
        self.step = step
        self._times.append(time.monotonic())
        self._manager._tell_change(self)

    # The methods below are called by the manager.

    def _set_state(self, state: State) -> None:
        self.state = state
        self._tell(self._on_state, state)
        self._manager._tell_change(self)

    def _say(self, message: str) -> None:
        if message != self.message:
            self.message = message
            self._tell(self._on_message, message)
            self._manager._tell_change(self)

    def _begin(self, steps: int) -> None:
        self.steps = steps
        self._began = time.monotonic()
        self._times.append(self._began)
        self._manager._tell_change(self)

    def _take(self, step: Step) -> None:
        self.step += 1
        self._times.append(time.monotonic())
        self._tell(self._on_step, step)
        self._manager._tell_change(self)

    def _end(self, state: State, message: str = "") -> None:
        self.ahead = 0
        self._ended = time.monotonic()
        self._say(message)
        self._set_state(state)
        # Callbacks hold widgets, and frames hold steps; an ended job needs neither.
        self._on_run = self._on_step = self._on_state = self._on_model = None
        self._on_message = self._start = self._make = None

    def _tell(self, callback: Callable[[Any], object] | None, value: object) -> None:
        """Call a callback. An exception in it is logged, once per run, and ends nothing."""
        if callback is None:
            return
        try:
            callback(value)
        except BaseException:  # even SystemExit must not end the worker: other jobs wait
            if not self._complained:
                self._complained = True
                log.exception("A callback of run %d failed; the run goes on.", self.id)


@dataclass(frozen=True, eq=False)
class _Follower:
    on_change: Callable[[Job | None], object]
    on_record: Callable[[Job, Trace], object] | None


@dataclass(frozen=True)
class _Loaded:
    model: LatentDiffusion
    size: int  # bytes
    device: str
    is_owned: bool = False  # by whoever added it: it is never dropped to make room


@dataclass(frozen=True)
class _Adapted:
    """A loaded model with LoRAs. ``size``: of the weights that it does not share."""

    model: LatentDiffusion
    loras: tuple[Lora, ...]  # as they were asked for
    size: int
    device: str


class ModelManager:
    """Loads models by name, keeps them while there is room, and runs jobs one after another.

    ``load(name, make_room=..., stop=...)`` returns a model; the default is
    `checkpoints.load_model`. It calls ``make_room(bytes, device)`` before it allocates, and may
    raise ``Stopped`` when ``stop()`` is true. ``budget``: how many bytes of weights to keep on a
    device; None keeps what fits into free memory. Without room, the least recently used model is
    dropped first.

    Use it in a ``with`` statement, or call `close` at the end. It belongs to the process that made
    it: in a forked child, its methods raise ``Busy``.
    """

    def __init__(
        self,
        load: Callable[..., LatentDiffusion] | None = None,
        *,
        budget: int | None = None,
    ):
        checks.function("load", load)
        if budget is not None:
            checks.whole("budget", budget, 0, 2**63)
        self._load = load
        self._budget = budget
        self._lock = threading.RLock()
        self._queue: deque[Job] = deque()
        self._current: Job | None = None
        self._worker: threading.Thread | None = None  # the last one; it lives while it works
        self._working = False
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()  # least recently used first
        self._adapted: dict[str, _Adapted] = {}  # by name, the last with LoRAs
        self._numbers = itertools.count(1)
        self._followers: tuple[_Follower, ...] = ()
        self._complained: set[_Follower] = set()  # whose first error has been logged
        self._closed = False
        self._process = os.getpid()

    def __enter__(self) -> ModelManager:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "A ModelManager holds a thread and loaded models, so it cannot be copied or sent.\n"
            "Send a Request, which names its model, and create a manager there."
        )

    def available(self) -> list[str]:
        """The names to offer: the bundled models, then other models that were loaded."""
        self._check_process()
        with self._lock:
            return list(dict.fromkeys([DEFAULT_MODEL, *bundled_models(), *self._loaded]))

    def loaded(self) -> list[str]:
        """The names of the models in memory, the least recently used first."""
        self._check_process()
        with self._lock:
            return list(self._loaded)

    @property
    def closed(self) -> bool:
        """Whether it is closed, and takes no more jobs."""
        return self._closed

    @property
    def device(self) -> str:
        """The device of the loaded models, such as "cuda:0"; "" if none is loaded."""
        with self._lock:
            devices = [entry.device for entry in self._loaded.values()]
        return max(devices, key=lambda device: device != "cpu", default="")

    def jobs(self) -> list[Job]:
        """The job that runs or loads, then those that wait, in their order."""
        self._check_process()
        with self._lock:
            jobs = [*([self._current] if self._current else []), *self._queue]
        return [job for job in jobs if job.state not in FINAL]

    def move(self, job: Job, to: int) -> None:
        """Move a job that waits to the place ``to`` of the queue; 0 is that of the next to begin.

        Raises ``InputError`` if it does not wait here.
        """
        self._check_process()
        checks.whole("to", to, 0, 2**31)
        with self._lock:
            if job not in self._queue:
                raise InputError(f"{shown(job)} does not wait in this queue.", parameter="job")
            self._queue.remove(job)
            self._queue.insert(to, job)
        self._tell_queue()

    def follow(
        self,
        on_change: Callable[[Job | None], object],
        on_record: Callable[[Job, Trace], object] | None = None,
    ) -> Callable[[], None]:
        """Call ``on_change`` whenever something changes; return a function that ends that.

        It is given the job whose state, message or step is new, or None where the queue or the
        loaded models are. ``on_record`` is given the job and the record of each finished run, which
        holds all its steps. Both are called on the thread that makes the change, usually the
        worker, so they must return at once. What they raise is logged, once, and ends nothing.
        """
        checks.able("on_change", on_change, "__call__", "a function")
        checks.function("on_record", on_record)
        follower = _Follower(on_change, on_record)

        def leave() -> None:
            with self._lock:
                self._followers = tuple(one for one in self._followers if one is not follower)

        with self._lock:
            self._followers = (*self._followers, follower)
        return leave

    def load(self, name: str) -> LatentDiffusion:
        """Return the model ``name``, and load it after the queued runs if it is not loaded yet.

        Raises what `checkpoints.load_model` raises; ``OutOfMemory`` if the model exceeds the
        budget; ``Busy`` in a callback of a run if the model is not loaded yet.
        """
        self._check_process()
        _check_name(name)
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return self._loaded[name].model
        if self._is_worker():
            raise Busy(
                f"{name} cannot be loaded from inside a callback of a run.\n"
                "Load it before that run, or submit a run of it in the callback."
            )
        models: list[LatentDiffusion] = []
        job = self._enqueue(Job(self, next(self._numbers), name, None, on_model=models.append))
        job.wait()
        job._raise_if_failed()
        return models[0]

    def add(self, model: LatentDiffusion, name: str | None = None, *, replace: bool = True) -> str:
        """Offer a model that is in memory already, such as a trained or derived one.

        Returns its name. The model stays until it is unloaded, whatever the budget, and replaces a
        loaded model of the same name. With ``replace=False``, it gets the first of "name",
        "name (2)" and so on that no other loaded model has.
        """
        self._check_process()
        if not all(hasattr(model, name) for name in ("name", "config", "run")):
            raise InputError(
                f"model must be a LatentDiffusion, got {shown(model)}.\n"
                "sdwidgets.load(...) returns one.",
                parameter="model",
            )
        name = model.name if name is None else name
        _check_name(name)
        device = str(getattr(model, "device", "cpu"))
        with self._lock:
            wanted, number = name, 2
            while not replace and name in self._loaded and self._loaded[name].model is not model:
                name, number = f"{wanted} ({number})", number + 1
            self._adapted.pop(name, None)
            self._loaded[name] = _Loaded(model, 0, device, is_owned=True)
        self._tell_change(None)
        return name

    def unload(self, name: str) -> None:
        """Drop a model, if it is loaded. Its memory is freed when runs that use it have ended."""
        self._check_process()
        _check_name(name)
        with self._lock:
            self._adapted.pop(name, None)
            self._loaded.pop(name, None)
        _free_memory()
        self._tell_change(None)

    def submit(
        self,
        request: Request,
        *,
        on_run: Callable[[Run], object] | None = None,
        on_step: Callable[[Step], object] | None = None,
        on_state: Callable[[State], object] | None = None,
        on_message: Callable[[str], object] | None = None,
        make: Make | None = None,
    ) -> Job:
        """Queue a run and return at once; from any thread, also from inside a callback.

        ``on_run`` is called once with the `Run` before its first step: it knows the resolved
        settings, the tokens, the notices and the length; only the manager takes its steps.
        ``on_step`` is called with each `Step`, ``on_state`` with each state, ``on_message`` with
        each new ``Job.message``. All are called on the worker thread (while the job is queued, also
        on the caller's and on others that cancel jobs). What they raise is logged and ends nothing.
        ``make(job, model, refiner)`` makes the run in the manager's place, on the worker: it asks
        ``job.stopping`` before each step, tells ``job.made``, and returns the record, if any.
        Raises ``InputError`` (``ImageError`` for images) if it is no request, and for settings that
        no model takes, or that its model does not take if it is loaded; ``Busy`` after `close` and
        in a forked process. Image files are read before this returns.
        """
        self._check_process()
        if not isinstance(request, Request):
            raise InputError(f"submit takes a Request, got a {type(request).__name__}.")
        if not isinstance(request.model, str) or not request.model:
            raise InputError("A request needs the name of a model.", parameter="model")
        if request.refiner is not None and (
            not isinstance(request.refiner, str) or not request.refiner
        ):
            raise InputError(
                f"refiner must be the name of a model, got {shown(request.refiner)}.",
                parameter="refiner",
            )
        if not isinstance(request.settings, Settings):
            raise InputError("A request needs Settings.", parameter="settings")
        named = {"on_run": on_run, "on_step": on_step, "on_state": on_state}
        named |= {"on_message": on_message, "make": make, "guide": request.guide}  # type: ignore[dict-item]
        for name, callback in named.items():
            checks.function(name, callback)
        request = _of_another(request)
        with self._lock:
            self._check_open()
            found = self._loaded.get(request.model)
        settings = request.settings.checked(found.model.config if found else None)
        start = Start.of(
            request.image,
            request.mask,
            request.depth,
            request.label_map,
            request.low_res,
            request.neighbours,
        )
        from_noise = found is not None and found.model.config.starts_from_noise
        by_strength = not (from_noise or settings.start_step or settings.steps is None)
        if start is not None and start.image is not None and by_strength:
            _ = settings.skipped_steps  # whether a step is left to do
        AttentionSettings.of(request.attention)
        request = replace(
            request,
            settings=settings,
            sources=_checked(request.sources),
            loras=loras_of(request.loras),
            control=controls_of(request.control),
        )
        number = next(self._numbers)
        job = Job(
            self, number, request.model, request, on_run, on_step, on_state,
            on_message=on_message, start=start, make=make,
        )  # fmt: skip
        job._tell(on_state, "queued")
        return self._enqueue(job)

    def warm_up(self, name: str = DEFAULT_MODEL) -> Job:
        """Import torch and load a model in the background; only the job says if that fails."""
        _check_name(name)
        return self._enqueue(Job(self, next(self._numbers), name, None))

    def close(self) -> None:
        """Stop all jobs, end the worker and free the models. May be called again.

        In a forked process, it does nothing: there is no worker to end.
        """
        if self._process != os.getpid():
            return
        self._cancel_all()
        with self._lock:
            worker = self._worker
        if worker is not None and worker is not threading.current_thread():
            worker.join()
        with self._lock:
            self._adapted.clear()
            self._loaded.clear()
        _free_memory()
        self._tell_change(None)

    # ---------------------------------------------------------------------------- queue and worker

    def _enqueue(self, job: Job) -> Job:
        self._check_process()
        with self._lock:
            self._check_open()
            if not self._working:
                self._start_worker()
            self._queue.append(job)
        self._tell_queue()
        return job

    def _tell_queue(self) -> None:
        """Tell the jobs that wait what they wait for."""
        changed = []
        with self._lock:  # none of them begins meanwhile
            ahead = [] if self._current is None else [self._current]
            for job in self._queue:
                before, job.ahead = job.message, len(ahead)
                runs = sum(other.request is not None for other in ahead)
                if runs:
                    job.message = "Waiting for " + ("another run" if runs == 1 else f"{runs} runs")
                elif ahead:
                    job.message = ahead[0].message  # of a load, often of the model that it needs
                if job.message != before:
                    changed.append(job)
                ahead.append(job)
        for job in changed:
            job._tell(job._on_message, job.message)
        self._tell_change(None)

    def _tell_change(self, job: Job | None) -> None:
        for follower in self._followers:
            self._tell(follower, follower.on_change, job)

    def _tell(self, follower: _Follower, call: Callable[..., object], *values: object) -> None:
        try:
            call(*values)
        except BaseException:  # even SystemExit must not end the worker: jobs wait
            if follower not in self._complained:
                self._complained.add(follower)
                log.exception("What follows a manager has failed; its jobs go on.")

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise Busy(
                "This ModelManager belongs to the process from which this one was forked.\n"
                "Its thread and its models do not work here. Start processes with\n"
                "multiprocessing's 'spawn' method, and create a ModelManager in each."
            )

    def _check_open(self) -> None:
        if self._closed:
            raise Busy("This ModelManager is closed.\nCreate a new one.")

    def _start_worker(self) -> None:
        """With the lock held, which the worker takes first: a job may be queued after this."""
        self._worker = start_daemon("sdwidgets worker", self._work, end=self._cancel_all)
        self._working = True

    def _cancel_all(self) -> None:
        """Stop all jobs, without waiting, and take no more."""
        with self._lock:
            self._closed = True
            jobs = [*self._queue, *([self._current] if self._current else [])]
        for job in jobs:
            job.cancel()

    def _take_back(self, job: Job) -> bool:
        """Remove a job from the queue; return False if it is not in it."""
        with self._lock:
            if job not in self._queue:
                return False
            self._queue.remove(job)
            return True

    def _is_worker(self) -> bool:
        return threading.current_thread() is self._worker

    def _work(self) -> None:
        """Do jobs until there are none: the body of the worker thread."""
        while True:
            with self._lock:
                self._current = self._queue.popleft() if self._queue else None
                if self._current is None:
                    self._working = False
                    return
            self._current.ahead = 0
            self._tell_queue()
            try:
                self._do(self._current)
            except BaseException as error:  # whatever it is, other jobs must not wait for ever
                self._current.error, self._current.state = error.with_traceback(None), "error"
                self._tell_change(self._current)
            finally:
                # Only now: no frame here holds the model any more, so it may be unloaded.
                self._current._finished.set()

    def _do(self, job: Job) -> None:
        """Do a job, in a frame of its own, so that nothing holds the model afterwards."""
        error: BaseException | None = None
        try:
            model, request = self._get(job, job.model), job.request
            if model is not None and request is not None and request.loras:
                model = self._with_loras(job, model, loras_of(request.loras))
            refiner: LatentDiffusion | None = None
            if model is not None and request is not None and request.refiner is not None:
                refiner = self._get(job, request.refiner, keep=job.model)
                model = None if refiner is None else model
            if model is not None and request is not None:
                self._run(job, model, request, refiner)
            elif model is not None:
                job._tell(job._on_model, model)
                job._end("done")
        except BaseException as failure:
            error = failure
        if job.state not in FINAL:
            if error is None:
                job._end("stopped", "Stopped while the model was loaded.")
            else:
                job.traceback = without_frames(error)
                job.error = error
                job._end("error")

    def _get(self, job: Job, name: str, *, keep: str | None = None) -> LatentDiffusion | None:
        """Return a model of the job, loaded if need be; None if the job was stopped meanwhile.

        ``keep``: the model beside which it is loaded."""
        with self._lock:
            found = self._loaded.get(name)
            if found is not None:
                self._loaded.move_to_end(name)
                return found.model
        self._tell_loading(job, "" if "torch" in sys.modules else "Importing PyTorch")
        job._set_state("loading")
        if job._stop.is_set():
            return None
        claim = (0, "cpu")

        def make_room(needed: int, device: torch.device) -> None:
            nonlocal claim
            claim = (needed, str(device))
            self._make_room(name, needed, device, keep=keep)
            self._tell_loading(job, f"Reading the weights of {name}, {amount(needed)}")

        try:
            load = self._loader()
            self._tell_loading(job, self._opening(name))
            model = load(name, make_room=make_room, stop=job._stop.is_set)
        except Stopped:
            return None
        if job._stop.is_set():
            return None
        with self._lock:
            self._loaded[name] = _Loaded(model, *claim)
        self._tell_change(None)
        return model

    def _with_loras(
        self, job: Job, model: LatentDiffusion, loras: tuple[Lora, ...]
    ) -> LatentDiffusion | None:
        """Return the model with LoRAs, made if need be; None if the job was stopped meanwhile."""
        name, claim = job._model_name, (0, "cpu")
        with self._lock:
            found = self._adapted.get(name)
        if found is not None and found.loras == loras and _is_current(found.model):
            return found.model
        with self._lock:
            self._adapted.pop(name, None)
        found = None
        job._set_state("loading")
        if job._stop.is_set():
            return None

        def make_room(needed: int, device: torch.device) -> None:
            nonlocal claim
            claim = (needed, str(device))
            self._make_room(f"{name} with its LoRAs", needed, device, keep=name)

        files = "a LoRA" if len(loras) == 1 else f"{len(loras)} LoRAs"
        self._tell_loading(job, f"Applying {files}")
        try:
            adapted = model.with_loras(loras, make_room=make_room, stop=job._stop.is_set)
        except Stopped:
            return None
        with self._lock:
            if name in self._loaded and self._loaded[name].model is model:
                self._adapted[name] = _Adapted(adapted, loras, *claim)
        return adapted

    def _tell_loading(self, job: Job, message: str) -> None:
        job._say(message)
        self._tell_queue()

    def _loader(self) -> Callable[..., LatentDiffusion]:
        if self._load is None:
            from .checkpoints import load_model

            return load_model
        return self._load

    def _opening(self, name: str) -> str:
        if self._load is None:
            from .checkpoints.hub import is_model_id

            if is_model_id(name) and not Path(name).exists():
                return f"Fetching {name} from the hub, unless it is in the cache"
        return f"Opening {name}"

    def _make_room(
        self, name: str, needed: int, device: torch.device, *, keep: str | None = None
    ) -> None:
        """Drop models until ``needed`` bytes may be taken: first those with LoRAs, which are made
        again quickly, then the least recently used first, but not ``keep``."""
        where, budget = str(device), self._budget
        if budget is not None and needed > budget:
            raise OutOfMemory(
                f"The model {name} needs {amount(needed)}; the budget is {amount(budget)}.\n"
                "Take a smaller model, or give the manager a larger budget."
            )
        while True:
            with self._lock:
                adapted = [
                    key
                    for key, each in self._adapted.items()
                    if each.device == where and key != keep
                ]
                here = [
                    key
                    for key, entry in self._loaded.items()
                    if entry.device == where and not entry.is_owned
                ]
                used = sum(self._loaded[key].size for key in here)
                used += sum(self._adapted[key].size for key in adapted)
                kept = self._loaded[keep].size if keep in here else 0
                if keep in self._adapted and self._adapted[keep].device == where:
                    used += self._adapted[keep].size
                    kept += self._adapted[keep].size
            if not here and not adapted:
                return
            free = self._free(device, used)
            if budget is None and free is not None and needed > free + used - kept:
                raise OutOfMemory(
                    f"The model {name} needs {amount(needed)} of memory on {where}; without any "
                    f"other model {amount(free + used - kept)} are free.\n"
                    "Take a smaller model, close programs, or load in half precision."
                )
            if free is None or needed <= free:
                return
            others = [key for key in here if key != keep]
            if adapted:
                with self._lock:
                    self._adapted.pop(adapted[0], None)
                _free_memory()
            elif others:
                self.unload(others[0])
            else:
                raise OutOfMemory(
                    f"The model {name} needs {amount(needed)} more; the budget is "
                    f"{amount(budget or 0)}.\nGive the manager a larger budget, or take fewer "
                    "LoRAs or no refiner."
                )

    def _free(self, device: torch.device, used: int) -> int | None:
        """Bytes free for a model while loaded models take ``used``; None if unknown."""
        if self._budget is not None:
            return self._budget - used
        from .memory import available_memory

        return available_memory(device)

    def _run(
        self,
        job: Job,
        model: LatentDiffusion,
        request: Request,
        refiner: LatentDiffusion | None = None,
    ) -> None:
        from .trace import Trace

        if job._stop.is_set():
            job._end("stopped", "Stopped before the first step.")
            return
        job._say("")
        job._set_state("running")
        if job._make is not None:
            job._trace = job._make(job, model, refiner)
            if job._stop.is_set():
                job._end("stopped", "Stopped.")
                return
            self._finish(job)
            return
        given: dict[str, Any] = {"attention": request.attention, "control": request.control}
        if request.guide is not None:
            given |= {"guide": request.guide}
        if refiner is not None:
            given |= {"refiner": refiner}
        if request.branch is not None:
            given |= {"control": request.branch.control, "branch": request.branch}
        run: Any
        if request.edit is not None:
            run = replace(request.edit, refiner=refiner or request.edit.refiner).run(model)
        else:
            run = model.run(request.settings, job._start, **given)
        if request.sources and (other := differences(request.sources, run.sources)):
            run.notices += (other,)
        job._tell(job._on_run, run)
        job._begin(len(run))
        taken: list[Step] = []
        for step in _until(job._stop, run):
            taken.append(step)
            job._take(step)
        if not job._stop.is_set():
            job._trace = Trace.of(taken, run)
        if job._stop.is_set():
            job._end("stopped", f"Stopped after {len(taken)} of {len(run)} steps.")
            return
        self._finish(job)

    def _finish(self, job: Job) -> None:
        """End a job whose run is done."""
        job._end("done")
        if job._trace is None:
            return
        for follower in self._followers:
            if follower.on_record is not None:
                self._tell(follower, follower.on_record, job, job._trace)


def _is_current(model: LatentDiffusion) -> bool:
    """Whether the files of a model's LoRAs are as they were when they were applied."""
    try:
        return all(
            lora.file is None or LocalFile.of(lora.file.path) == lora.file for lora in model.loras
        )
    except OSError:
        return False


def _of_another(request: Request) -> Request:
    """The request with what its branch or edit says. Raises InputError for what that has itself."""
    branch, edit = request.branch, request.edit
    if branch is not None and edit is not None:
        raise InputError(
            "A request is for a branch or for an edit, not for both.\nSubmit two.",
            parameter="edit",
        )
    if branch is not None and not hasattr(branch, "noise_from"):
        raise InputError(
            f"branch must be what trace.branching(...) returns, got {shown(branch)}.",
            parameter="branch",
        )
    if edit is not None and not hasattr(edit, "cross_attention"):
        raise InputError(
            f"edit must be what trace.editing(...) returns, got {shown(edit)}.",
            parameter="edit",
        )
    came = branch or edit
    if came is None:
        return request
    which, maker = ("A branch", "branching") if branch is not None else ("An edit", "editing")
    for name in ("image", "mask", "depth", "label_map", "low_res", "neighbours", "control"):
        if getattr(request, name) not in (None, ()):
            raise InputError(
                f"{which} follows its run, so the request cannot have {name}.\n"
                f"Leave it out; trace.{maker}(..., control=...) takes controls.",
                parameter=name,
            )
    return replace(request, settings=came.settings, attention=came.attention)


def _check_name(name: object) -> None:
    if not isinstance(name, (str, os.PathLike)) or not name:
        raise InputError(f"name must be the name of a model, got {shown(name)}.", parameter="name")


def _checked(sources: Sequence[Source]) -> tuple[Source, ...]:
    is_list = isinstance(sources, (list, tuple))
    if not is_list or len(sources) > MOST or not all(isinstance(one, Source) for one in sources):
        raise InputError(
            f"sources must be at most {MOST} of sdwidgets.sources.Source, got {shown(sources)}.",
            parameter="sources",
        )
    return tuple(sources)


def _until(stop: threading.Event, run: Any) -> Iterator[Step]:
    """The steps of a run until it ends or ``stop`` is set, which is checked before every step."""
    while not stop.is_set():
        step = next(run, None)
        if step is None:
            return
        yield step
    run.close()


def _free_memory() -> None:
    """Free the memory of dropped models. Models have no cycles, but what users add may."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        with contextlib.suppress(RuntimeError):  # of a GPU that has failed for good
            torch.cuda.empty_cache()
