"""The Studio: a prompt becomes an image, live, in a notebook cell."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from .. import checks
from ..checks import shortened
from ..configs import EMOJI
from ..contract import BUNDLED, PANELS
from ..errors import Busy, InputError, SDWidgetsError
from ..loras import Lora, loras_of
from ..manager import DEFAULT_MODEL, ModelManager, Request
from ..scenes import caption_words
from ..settings import LIMITS, TOLD, Settings, takes
from ..sources import recorded
from ..trace.png import given_to, settings_in
from . import kernel
from .compare import Compare
from .controls import Controls, about
from .describing import Describing
from .final import finals
from .history import History
from .life import Living
from .loras import shown
from .results import Result, name_of
from .running import Running
from .setting import OWN, SETTINGS, RunSettings
from .side import current_manager, shared_manager
from .stage import Reel, Stage
from .waiting import wait
from .watching import in_words
from .words import count_of

if TYPE_CHECKING:
    from ..run import Run
    from ..trace import Trace

CAUSES = ("model", "loras", "image", "batch_size", "width", "height")
"""The settings that may cause an error which names none, such as too little memory."""


_KINDS = {
    "mask": "a mask",
    "depth": "a depth map",
    "latents": "latents",
    "control": "images to follow (ControlNets)",
}


class Studio(RunSettings, Living, ipywidgets.VBox):
    """Type a prompt, press Generate, and watch the image come out of the noise.

    Every setting is a trait: read it, set it, observe it. A run works in the background, so other
    cells can run meanwhile. ``Ctrl-Enter`` in a field generates.

    Example::

        studio = sdw.Studio(prompt="a cat left of a car on a blue background", seed=7)
        studio                      # shows the widget
        studio.generate()           # like the button; returns at once
        studio.wait()               # the run's trace, once it is done
        studio.trace.image
    """

    inside = traitlets.Bool(False)
    """Whether the panels of a `Viewer` are open, with every step and every word of a run."""

    state = traitlets.Unicode("idle", read_only=True)
    """idle, loading, running, done, stopped or error."""

    trace = traitlets.Any(None, read_only=True)
    """The record of the last finished run; None before the first."""

    error = traitlets.Any(None, read_only=True)
    """The exception that ended the last run, or about a setting; None again once that setting is
    changed."""

    _running: Running | None = None

    comparison: Compare | None = None
    """Two results side by side, below the history; None unless two were chosen."""

    def __init__(self, manager: ModelManager | None = None, **settings: Any):
        if manager is not None:
            checks.able("manager", manager, "submit", "a ModelManager")
        known = {"model", "loras", "image", *SETTINGS}
        unknown = [name for name in settings if name not in known and not self.has_trait(name)]
        if unknown:
            raise TypeError(
                f"Studio() has no setting {unknown[0]!r}. Known: {', '.join(sorted(known))}."
            )
        self.view = Stage()
        self.controls = Controls(self._take_image, self._restore, self._take_loras)
        self._lock = self.view.lock
        self._manager = manager
        self.history = History({"recall": self._recall, "use": self._use, "compare": self._compare})
        self._describing = Describing(self._show_words)
        self._chosen = {name for name in OWN if name in settings}
        self._described = ""  # the model whose words are shown before it is loaded
        self._adopting: int | None = None  # the thread that is setting the model's defaults
        self._calm = "idle", ""  # state and message to return to once an error is corrected
        self._shown = (*self.controls.rows, self.view, self.history)
        self._parts = (*self.controls.everything, self.view, self.history)
        super().__init__(self._shown, **settings)
        for name in ("sdw", "sdw-studio"):
            self.add_class(name)
        self._bind()
        self._begin()
        if manager is None:  # load what the first run needs while the page draws this
            self.manager.warm_up(DEFAULT_MODEL)

    # ------------------------------------------------------------------------------ from Python

    @property
    def manager(self) -> ModelManager:
        """The manager that runs this Studio: the given one, or one shared by all Studios."""
        return shared_manager() if self._manager is None else self._manager

    @property
    def viewer(self) -> Stage:
        """The view of the run, with the selections of a `Viewer`: ``step``, ``word`` and so on."""
        return self.view

    def generate(self) -> None:
        """Start a run with the current settings and return at once.

        Raises InputError for invalid settings; nothing is computed and the last image stays. Raises
        Busy while a run of this Studio is going on. The widget shows both errors, too.
        """
        self._check_open()
        with self._lock:
            self._check_open()
            if self._goes_on():
                raise Busy(
                    "This Studio is still running.\nWait with studio.wait(), or stop it with "
                    "studio.stop()."
                )
            unset: dict[str, Any] = {name: None for name in OWN if name not in self._chosen}
            if self.image is None:  # their controls are hidden
                unset |= {"strength": Settings.strength, "fit": Settings.fit}
            settings = replace(self.settings, **unset)
            try:
                self._check(settings)
            except InputError as error:
                self._refuse(error)
                raise
            self.controls.mark(None)
            self.controls.loras.mark("", None)
            run = self._running = Running(
                self.manager,
                Request(self.model, settings, image=self.image, attention=True, loras=self.loras),
                self.view,
                on_state=self._follow_state,
                on_message=lambda message: self.view.say("loading", message),
                on_run=self._adopt,
                on_end=self._take_end,
            )
            try:
                self.set_trait("error", None)
                self.view.shape = [settings.width or self.width, settings.height or self.height]
                self._set_state("loading", "Starting")
                run.start()
            except BaseException:  # an observer may raise anything
                run.give_up()
                raise

    def stop(self) -> None:
        """Stop the current run within a step. Without a run, nothing happens."""
        run = self._running
        if run is not None and not run.over:
            run.stop()

    def wait(self, timeout: float | None = None) -> Trace | None:
        """Wait for the current run and return its trace; None if it was stopped.

        Raises the error that ended the run, and TimeoutError after ``timeout`` seconds. Ctrl-C
        stops the run and raises KeyboardInterrupt. Raises Busy in an observer that the run itself
        calls, where waiting would never end.
        """
        self._check_process()
        run = self._running
        if run is None:
            return None
        wait(
            run.finished,
            timeout,
            what="The run",
            is_here=run.is_this_thread(),
            stop=run.stop,
            instead="Wait in a cell, or observe `trace`.",
        )
        if run.error is not None:
            raise run.error.with_traceback(None)
        return run.trace

    def _end(self) -> None:
        self.stop()  # its thread ends within a step
        self._describing.close()
        self.controls.loras.end()
        self._end_comparison()

    # -------------------------------------------------------------------------------- the page

    def _bind(self) -> None:
        """Connect controls to traits and buttons to actions."""
        c = self.controls
        c.tie(self, self._refuse, self._accept)
        self.observe(
            lambda change: self._accept(change.name), ["model", "loras", "image", *SETTINGS]
        )
        self.observe(lambda change: c.loras.show(change.new), "loras")
        c.loras.show(self.loras)
        self.observe(self._choose, ["model", *OWN])
        self.observe(lambda _: self._describe(), ["model", "prompt", "weights", "chunks"])
        self._describe()
        self._look()
        self.observe(lambda _: self._reshape(), ["width", "height"])
        self._reshape()
        self.observe(self._show_start, ["image", "fit", "width", "height"])
        self._show_start()
        self.observe(lambda _: self._open_or_close(), "inside")
        self._open_or_close()
        c.look.observe(lambda change: self.set_trait("inside", change.new), "value")
        clicks: dict[Any, Callable[[], object]] = {
            c.dice: lambda: self.set_trait("seed", None),
            c.generate: self._clicked,
            c.stop: self.stop,
            c.end_comparison: self._end_comparison,
        }
        for button, act in clicks.items():
            button.on_click(lambda _, act=act: self._attempt(act))
        self.history.on_error = self._refuse
        traitlets.dlink((self.view, "current"), (self.history, "current"))
        self.view.on_msg(self._hear)
        self.observe(lambda _: None if self._goes_on() else self._redraw(), "state")

    def _choose(self, change: Any) -> None:
        """Remember which of OWN were set. Another model forgets that, and is described."""
        if change.name == "model":
            self._chosen.clear()
            for name in TOLD:
                setattr(self, name, None)
            self._look()
        elif self._adopting != threading.get_ident():
            self._chosen.add(change.name)

    def _describe(self) -> None:
        """Show what is known of the model, and how it reads the prompt."""
        words, manager = self.controls.words, self._manager or current_manager()
        if manager is None or self.model not in manager.loaded():
            if self._described != self.model:
                self.controls.about.value = ""
            self.controls.show_told(())
            words.count = ""
            words.show(self.prompt, caption_words() if self.model == DEFAULT_MODEL else None)
            return
        model = manager.load(self.model)
        self.controls.about.value = about(model)
        self.controls.show_told([name for name in TOLD if takes(model.config, name)])
        words.show(self.prompt, model.vocabulary)
        text = ""
        if model.text is not None:
            text = count_of(model.text, self.prompt, self.settings)
        words.count = text

    def _look(self) -> None:
        """Find out what the chosen model is, as long as it is not loaded."""
        if self.model != DEFAULT_MODEL:
            self._describing.look(self.model)

    def _show_words(self, model: str, line: str) -> None:
        """Show what a model is, found out in the background, unless more is known by now."""
        with self._lock:
            manager = self._manager or current_manager()
            is_loaded = manager is not None and model in manager.loaded()
            if model == self.model and not is_loaded and not self._closed:
                self._described = model
                self.controls.about.value = line

    def _reshape(self) -> None:
        """Give the empty stage the shape of the image to come."""
        if not self.view.pictures and self._is_size():
            self.view.shape = [self.width, self.height]

    def _open_or_close(self) -> None:
        """Open or close the panels of a run's inside."""
        self.controls.look.value = self.inside
        self.view.panels = list(PANELS) if self.inside else []
        (self.add_class if self.inside else self.remove_class)("sdw-inside")

    def set_state(self, sync_data: Any) -> None:
        """Does nothing: pages set the traits of the controls, and none of the Studio's."""

    # The front end calls these, on whichever thread the kernel handles messages. They only start
    # things or set events.

    def _clicked(self) -> None:
        try:
            self.generate()
        except SDWidgetsError:
            return  # already shown; a second click during a run does nothing
        except Exception as error:
            self._refuse(error)
            return
        if kernel.in_colab():  # it does not paint a thread's updates after the cell
            with contextlib.suppress(Exception):  # shown by the run
                self.wait()

    def _complain(self, error: Exception) -> None:
        self._refuse(error)

    def _receive(self, message: Any, buffers: Any) -> None:
        """Handle a message of the page. Malformed messages are ignored."""
        if not isinstance(message, dict):
            return
        kind = message.get("kind")
        if kind == "generate":
            self._clicked()
        elif kind == "stop":
            self.stop()

    def _take_image(self, file: bytes | None) -> None:
        """Start from an image file, or from noise."""
        self.image = file

    def _take_loras(self, loras: tuple[Lora, ...]) -> None:
        """Take the LoRAs of the rows."""
        self.loras = loras

    def _show_start(self, change: Any = None) -> None:
        """Show the start image as a run begins from it."""
        if change is not None and change.name == "image":
            self.controls.start.say()  # what was said of the image before
        if self._is_size():
            self.controls.start.show(self.image, (self.width, self.height))

    def _is_size(self) -> bool:
        return all(0 < side <= LIMITS["width"][1] for side in (self.width, self.height))

    def _restore(self, record: dict[str, Any], has_image: bool) -> str:
        """Load the settings in a record, as `read_record` returns it; return what to say about it.

        ``has_image``: whether the run's start image came with it.
        """
        settings, given = settings_in(record), given_to(record)
        made_by = str(record.get("model"))
        if made_by in BUNDLED["names"]:
            made_by = DEFAULT_MODEL
        known = made_by in self.manager.available()  # others would be fetched by a stranger's file
        with self._lock:
            self._load(made_by if known else self.model, settings)
            if "image" not in given:
                self.image = None
        program = record.get("program")
        missing = [] if program else self._load_loras(record.get("sources"))
        of = f", as {program} wrote them" if isinstance(program, str) else ""
        said = [f"The settings of the file are loaded{of}."]
        if made_by and not known:
            said.append(f"Another model made the image: {shortened(name_of(made_by), 60)}.")
        if missing:
            said.append(f"It also had {', '.join(missing)}: add the file, if you have it.")
        if "image" in given and not has_image:
            said.append("It was made from an image that is not in the file.")
        for name in given:
            if name in _KINDS:
                said.append(f"It was also given {_KINDS[name]}, which the Studio does not take.")
        left_out = record.get("left_out")
        if isinstance(left_out, dict) and left_out:
            listed = ", ".join(f"{name}: {value}" for name, value in left_out.items())
            said.append(f"Left out: {shortened(listed, 400)}.")
        return " ".join(said)

    def _load_loras(self, sources: Any) -> list[str]:
        """Take a record's LoRAs whose files are known here; return the others in words."""
        used = [*self.loras, *(lora for result in self.history.results for lora in result.loras)]
        known = {lora.path.name: lora.path for lora in used}
        found, missing = list[Lora](), list[str]()
        for source in recorded(sources):
            if source.kind == "lora":
                path = known.get(source.name) or known.get(source.name.split("/")[0])
                strength = 1.0 if source.strength is None else source.strength
                lora = Lora(path or Path(source.name), strength, source.text_strength)
                if path:
                    found.append(lora)
                else:
                    missing.append(f"the LoRA {shown(lora)}")
        self.loras = found
        return missing

    def _load(self, model: str, settings: Settings) -> None:
        """Take these settings, all or none, and show them in their fields; None stays as it is."""
        values = {name: getattr(settings, name) for name in SETTINGS}
        if any(isinstance(value, tuple) for value in values.values()):
            raise InputError("These are the settings of a batch; the Studio takes single values.")
        self.model = model
        for name, value in values.items():
            if value is not None or name in TOLD:
                setattr(self, name, value)
                self.controls.fill(name, getattr(self, name))
        self._chosen.update(OWN)

    def _use(self, number: int, index: int) -> None:
        """Start from an image of an earlier result."""
        result = self.history.results.find(number)
        if result is not None and 0 <= index < len(result.images):
            self.image = result.images[index]["data"]

    def _compare(self, number: int, other: int) -> None:
        """Show two results side by side, below everything else."""
        found = [self.history.results.find(one) for one in (number, other)]
        traces = [one.trace for one in found if one is not None and one.trace is not None]
        if len(traces) < 2:
            return
        with self._lock:
            if self._closed:
                return
            if self.comparison is None or self.comparison.comm is None:  # or closed from outside
                self.comparison = Compare(*traces)
                self.children = (*self._shown, self.controls.apart, self.comparison)
            else:
                self.comparison.show(*traces)

    def _end_comparison(self) -> None:
        """Remove the comparison."""
        comparison, self.comparison = self.comparison, None
        if comparison is not None:
            self.children = self._shown
            comparison.close()

    def _recall(self, number: int, _: int = 0) -> None:
        """Show an earlier result and load its settings."""
        result = self.history.results.find(number)
        if result is None:
            return
        with self._lock:
            self._load(result.model, result.settings)
            self.loras, self.image = result.loras, result.start
            if self._goes_on():
                return
            self.controls.mark(None)
            self.view.shape = list(result.settings.size)
            message = "An earlier image; its settings are loaded"
            self.view.recall(number, result.reel, result.images, message, result.trace)
        self.set_trait("error", None)
        self.set_trait("state", "done")

    # ------------------------------------------------------------- the run; its thread calls these

    def _goes_on(self) -> bool:
        return self._running is not None and not self._running.over

    def _follow_state(self, state: str) -> None:
        self.set_trait("state", "running" if state == "running" else "loading")

    def _adopt(self, run: Run) -> None:
        """Take over what the model says, now that it is loaded: its name, facts and defaults."""
        self.controls.offer(self.manager.available())
        self._adopting = threading.get_ident()
        asked = None if self._running is None else self._running.request.model
        try:
            for name in OWN:
                if name not in self._chosen and asked == self.model:
                    setattr(self, name, getattr(run.settings, name))
        finally:
            self._adopting = None
        self._describe()

    def _take_end(self, run: Running, state: str, message: str) -> None:
        """Show how a run ended, and allow the next one."""
        if self._closed:
            run.over = True
            self.set_trait("state", "stopped")
        elif state == "done" and run.trace is not None:
            self.set_trait("trace", run.trace)
            images = finals(run.trace)
            with self._lock:
                shown = self.view.end(run.trace, message, run=run.number, images=images)
                reel = self.view.kept() if shown else Reel({}, {})
                request = run.request
                self.history.add(
                    Result.of(
                        run.number,
                        request.model,
                        run.trace,
                        images,
                        reel,
                        request.image,
                        loras_of(request.loras),
                    )
                )
                run.over = True
            self.set_trait("state", "done")  # last, since a waiting observer may start the next run
        elif run.error is not None:
            self.view.end("error", message, run=run.number)
            run.over = True
            self._refuse(run.error)
        else:
            if run.number < 0:
                self.view.say("stopped", message)
            else:
                self.view.end("stopped", message, run=run.number)
            run.over = True
            self.set_trait("state", "stopped")

    def _set_state(self, state: str, message: str) -> None:
        self.set_trait("state", state)
        self.view.say(state, message)

    def _check(self, settings: Settings) -> None:
        """Raise InputError if no run takes these settings, as far as that is known by now."""
        if self.controls.wrong is not None:
            raise self.controls.wrong
        if self.model == DEFAULT_MODEL:  # other models are checked once they are loaded
            settings.checked(EMOJI)

    def _accept(self, name: str) -> None:
        """A setting was changed: the error about it goes, unless the new value is wrong, too."""
        about = getattr(self.error, "parameter", None)
        if self.error is None or (name != about if about else name not in CAUSES):
            return
        try:
            self._check(self.settings)
        except InputError as error:
            if error.parameter == name or error is self.controls.wrong:
                self._refuse(error)
                return
        self.set_trait("error", None)
        self.controls.mark(None)
        if self._goes_on():
            self.view.say(self.view.state, "Denoising")
        else:
            self._set_state(*self._calm)

    def _refuse(self, error: BaseException) -> None:
        """Show an error. The last image stays."""
        if self.state != "error":
            over = self.state in ("idle", "done", "stopped")
            calm = "done" if self.view.pictures else "idle"
            self._calm = (self.state, self.view.message) if over else (calm, "")
        self.set_trait("error", error)
        self.controls.mark(getattr(error, "parameter", None))
        message = in_words(error)
        self.controls.loras.mark(message, getattr(error, "lora", None))
        if self._goes_on():  # a field is wrong; the run itself is fine
            self.view.say(self.view.state, message)
        else:
            self._set_state("error", message)

    # ------------------------------------------------------------------------------- as output

    _instead = "Send studio.settings instead, and make a Studio there."

    def __repr__(self) -> str:
        return f"Studio({self.prompt!r}, seed={self.seed}, model={self.model!r}): {self.state}"

    def _still(self) -> bytes | None:
        """The image on show, or how far a run has come that has no image."""
        result = self.history.results.find(self.view.current)
        return self.view._still() if result is None else result.images[0]["data"]
