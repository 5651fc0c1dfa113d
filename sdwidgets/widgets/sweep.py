"""The sweep: images over one to three settings, as a grid that fills while they are made."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import ipywidgets
import traitlets

from .. import checks
from ..configs import EMOJI, ModelConfig
from ..daemon import start_daemon
from ..errors import InputError
from ..manager import DEFAULT_MODEL, ModelManager
from ..settings import AttentionSettings, Settings
from ..sweep.axes import MOST_POINTS
from ..sweep.engine import ENDED, Engine, Progress
from ..sweep.executor import Executor
from ..sweep.local import Local
from ..sweep.plan import Plan
from ..sweep.results import Keep, Result
from . import kernel
from .compare import Compare
from .life import Living, newest
from .setting import SETTINGS
from .side import current_manager, shared_manager
from .studio import Studio
from .sweep_grid import SweepGrid
from .waiting import wait
from .watching import in_words

log = logging.getLogger(__name__)

AnySweep = TypeVar("AnySweep", bound="Sweep")


class Sweep(Living, ipywidgets.VBox):
    """Images over one to three settings: an iterator of results, and a grid that shows them.

    Every setting of `LatentDiffusion.sample` may be a list, and then is an axis: the first makes
    the columns, the second the rows, the third the tabs. So do the parts of a prompt in braces.
    Shown as the last line of a cell, it starts at once, and the cell returns. Steps that points
    share are made once.

    Example::

        sdw.Sweep(prompt="a {cat|dog} on a {blue|green} background", seed=range(4))

        sweep = sdw.Sweep(prompt="a cat", seed=range(2), guidance_scale=[1, 3, 7])
        for result in sweep:                  # also in a script, without Jupyter
            result.settings, result.image, result.scores, result.error
        sweep.to_csv("cats.csv")

    ``model``: a bundled name, a path, the hub's "owner/name", a model, or a list of these, which is
    an axis. ``attention``: record where words look. ``client``: a `distributed.Client`, on whose
    workers the points are made. ``folder``: where results are kept as they come; the same sweep
    with the same folder goes on where it ended. ``keep``: "image", or "trace" with every step, so
    that two can be compared step by step. ``scores``: functions of a trace to a number, by name or
    in a list. ``most``: how many points there may be. ``from_step``: the step from which the
    settings on the axes act; those before have the first value of each.

    Raises InputError: for a wrong value, with the axis; for too many points, with their number; for
    the folder of another sweep.
    """

    state = traitlets.Unicode("idle", read_only=True)
    """idle, running, pausing, paused, stopping, done, stopped or error."""

    comparison: Compare | None = None
    """Two results side by side, step by step, below the grid; None unless two were chosen."""

    def __init__(
        self,
        model: Any = DEFAULT_MODEL,
        *,
        attention: bool | AttentionSettings = False,
        client: Any = None,
        folder: str | os.PathLike[str] | None = None,
        keep: Keep = "image",
        scores: Any = None,
        most: int = MOST_POINTS,
        manager: ModelManager | None = None,
        **settings: Any,
    ):
        if manager is not None:
            checks.able("manager", manager, "submit", "a ModelManager")
        self._manager = manager
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._saving: threading.Thread | None = None
        known = _known(manager or current_manager())
        plan = Plan.of(model, attention=attention, most=most, configs=known, **settings)
        executor = Local(self.manager, plan.models) if client is None else _elsewhere(client, plan)
        self._engine = Engine(plan, executor, folder=folder, keep=keep, scores=scores)
        self._leave = self._engine.follow(self._follow)
        self._executor = executor
        acts = {
            "start": lambda _: self.start(),
            "pause": lambda _: self.pause(),
            "resume": lambda _: self.resume(),
            "stop": lambda _: self.cancel(),
            "compare": self._compare_on_page,
            "apart": lambda _: self._end_comparison(),
            "use": self._use_on_page,
            "table": lambda _: self._save("sweep.csv", "text/csv", self.to_csv),
            "sheet": lambda _: self._save("sweep.png", "image/png", self.save_sheet),
        }
        self.view = SweepGrid(self._engine, acts, lambda: newest(Studio) is not None)
        self._parts = (self.view,)
        super().__init__([self.view])
        self._follow(None)
        self._begin()

    # ------------------------------------------------------------------------------ the results

    def __len__(self) -> int:
        """How many points there are."""
        return len(self._engine)

    def __iter__(self) -> Iterator[Result]:
        """The result of each point in grid order, as soon as it and those before it are made.

        Starts the sweep if nobody has. A point that failed is a result with an ``error``. Ctrl-C
        cancels the sweep. Raises what ended the whole sweep.
        """
        self._check_open()
        return self._passing(iter(self._engine))

    def as_finished(self) -> Iterator[Result]:
        """The results in the order in which they are made; otherwise as iterating."""
        self._check_open()
        return self._passing(self._engine.as_finished())

    def _passing(self, results: Iterator[Result]) -> Iterator[Result]:
        """The same results; then the grid and the state are those of the end."""
        yield from results
        kernel.wait_for(self._over)

    @property
    def results(self) -> dict[int, Result]:
        """The results so far, by the number of their point in grid order: columns first."""
        return self._engine.results

    def result(self, *place: int) -> Result | None:
        """The result at these indices, one for each axis; None if it is not there yet."""
        return self._engine.result(*place)

    @property
    def plan(self) -> Plan:
        """What is to be made: the axes, and each `Point`."""
        return self._engine.plan

    @property
    def progress(self) -> Progress:
        """How far it is: points, steps, and the seconds that are left."""
        return self._engine.progress

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the sweep as a whole."""
        return self._engine.notices

    @property
    def error(self) -> Exception | None:
        """What ended the whole sweep; None if nothing has. Those of points are in their results."""
        return self._engine.error

    # ------------------------------------------------------------------------------- the making

    def start(self: AnySweep) -> AnySweep:
        """Make what is missing, in the background; return the sweep itself, at once.

        After `cancel`, it goes on where it ended. Points that failed are made again. Does nothing
        while it runs.
        """
        self._check_open()
        with self._lock:
            state = self._engine.state
            if state == "done" and not self.progress.failed:
                return self
            if state in ("ready", *ENDED):
                self._over.clear()
            self._engine.start()
        return self

    def pause(self) -> None:
        """Begin no other image until `resume`; those that have begun are finished."""
        self._engine.pause()

    def resume(self) -> None:
        """Go on after a pause."""
        self._engine.resume()

    def cancel(self) -> None:
        """Stop within a step, and keep what is made; `start` goes on from there."""
        if self._engine.state not in ("running", "paused"):
            return
        self.view.stopping()
        self._engine.stop()

    def wait(self, timeout: float | None = None) -> dict[int, Result]:
        """Wait until the sweep has ended, and return its `results`. Starts it if nobody has.

        Raises what ended it, and TimeoutError after ``timeout`` seconds, while it goes on. Ctrl-C
        cancels it and raises KeyboardInterrupt.
        """
        self._check_open()
        if self._engine.state == "ready":
            self.start()
        wait(self._over, timeout, what="The sweep", is_here=False, stop=self.cancel)
        if self.error is not None:
            raise self.error.with_traceback(None)
        return self.results

    @property
    def manager(self) -> ModelManager:
        """The manager that makes the points in this process: the given one, or that of all
        Studios."""
        return shared_manager() if self._manager is None else self._manager

    def _follow(self, result: Result | None) -> None:
        """Take over the engine's state; called on its thread."""
        state = self._engine.state
        words = "idle" if state == "ready" else state
        if words != self.state:
            if state in ENDED:
                self.view.flush()
                self._redraw()
            with contextlib.suppress(Exception):  # whoever observes it may raise anything
                self.set_trait("state", words)
        if state in ENDED:
            self._over.set()

    def _end(self) -> None:
        self._leave()
        self._end_comparison()
        self._engine.close()
        self._executor.close()
        self._over.set()

    # --------------------------------------------------------------------- what is done with them

    def use(self, point: int) -> Settings:
        """The settings of a point, by its number in grid order. A Studio on the page takes them.

        Of several Studios, the one that was made last does. Raises InputError for a number that is
        not there.
        """
        asked = self.plan.point(point)
        result = self.results.get(point)
        settings = asked.settings if result is None or not result.ok else result.settings
        studio = newest(Studio)
        if studio is not None:
            if studio.model != asked.model:
                studio.model = asked.model
            for name in SETTINGS:
                value = getattr(settings, name)
                if value is not None:
                    setattr(studio, name, value)
            studio.loras = asked.loras
        return settings

    def compare(self, first: int, second: int) -> Compare | None:
        """Show two results side by side below the grid, step by step; return that widget.

        They are given by their numbers in grid order. None if their steps are not kept: that takes
        ``keep="trace"``. Raises InputError for a point without an image.
        """
        traces = [self._trace(point) for point in (first, second)]
        if not all(trace.steps for trace in traces):
            return None
        with self._lock:
            self._check_open()
            if self.comparison is None or self.comparison.comm is None:
                self.comparison = Compare(*traces)
                self.children = [self.view, self.comparison]
            else:
                self.comparison.show(*traces)
            return self.comparison

    def _trace(self, point: int) -> Any:
        self.plan.point(point)
        result = self.results.get(point)
        if result is None:
            raise InputError(f"Point {point} has no image yet.\nWait for it: sweep.wait()")
        return result.trace

    def _end_comparison(self) -> None:
        comparison, self.comparison = self.comparison, None
        if comparison is not None:
            self.children = [self.view]
            comparison.close()

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary of plain values for each result so far: its place, settings, scores, error
        and file, as `to_csv` writes them."""
        return self._engine.rows()

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write the settings and scores of all results as a table; return its path."""
        return self._engine.to_csv(path)

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write the same as Parquet, which needs pyarrow; return its path."""
        return self._engine.to_parquet(path)

    def sheet(self) -> list[Any]:
        """A contact sheet with labels, as a matplotlib figure for each value of the third axis."""
        return self._engine.contact_sheets()

    def save_sheet(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the results on a sheet with labels, at full size; return the paths of its pages."""
        return self._engine.save_sheet(path)

    # ---------------------------------------------------------------------------------- the page

    def set_state(self, sync_data: Any) -> None:
        """Does nothing: a page sets no trait of a sweep."""

    def _compare_on_page(self, message: Any) -> None:
        points = message.get("points")
        if isinstance(points, list) and len(points) == 2 and all(map(self.view.is_point, points)):
            self.compare(*points)

    def _use_on_page(self, message: Any) -> None:
        if self.view.is_point(message.get("point")):
            there = newest(Studio) is not None
            self.use(message["point"])
            self.view.tell(
                "Its settings are in the Studio" if there else "No Studio is open in this notebook"
            )

    def _save(self, name: str, kind: str, write: Callable[[Path], object]) -> None:
        """Let the page save what ``write`` writes, which may take a while."""
        if self._saving is not None and self._saving.is_alive():
            self.view.tell("Another file is being written")
            return

        def work() -> None:
            try:
                with tempfile.TemporaryDirectory(prefix="sdwidgets-") as folder:
                    write(Path(folder, name))
                    for file in sorted(Path(folder).iterdir()):
                        self.view.file(file.name, kind, file.read_bytes())
            except Exception as error:  # shown on the page
                log.warning("A file of a sweep cannot be written.", exc_info=True)
                self.view.tell(in_words(error))

        self.view.tell(f"Writing {name}")
        self._saving = start_daemon("sdwidgets file", work)

    # -------------------------------------------------------------------------------- as output

    _instead = "Send the arguments of the sweep, or the folder of its results."

    def __repr__(self) -> str:
        axes = " x ".join(f"{len(axis)} of {axis.title}" for axis in self.plan.axes)
        done = self.progress.done
        return f"Sweep({axes}): {self.state}, {done} of {len(self)} points"

    def _still(self) -> bytes | None:
        """All images, small, once it has ended."""
        return self.view._still()

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show it, and start it if nobody has: that is what a cell's last line is for."""
        super()._ipython_display_(**kwargs)
        if self._closed or self._engine.state != "ready":
            return
        self.start()
        if kernel.in_colab():  # it does not paint a thread's updates after the cell
            with contextlib.suppress(Exception):  # shown by the grid
                self.wait()


def _known(manager: ModelManager | None) -> dict[str, ModelConfig]:
    """The configs of models that need not be loaded to be known, by name."""
    configs = {DEFAULT_MODEL: EMOJI}
    if manager is not None:
        configs |= {name: manager.load(name).config for name in manager.loaded()}
    return configs


def _elsewhere(client: Any, plan: Plan) -> Executor:
    """What makes points on a cluster. Raises InputError for models that are in memory only."""
    from ..sweep.dask import OnDask

    if plan.models:
        raise InputError(
            f"On a cluster, a model travels by its name, not as {next(iter(plan.models))!r} in "
            "memory.\nGive the path, or the name, from which each worker can load it.",
            parameter="model",
        )
    return OnDask(client)
