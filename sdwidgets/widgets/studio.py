"""The Studio: a prompt becomes a picture, live, in a notebook cell."""

from __future__ import annotations

import base64
import contextlib
import io
import numbers
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

import ipywidgets
import traitlets
from PIL import Image

from ..checks import shortened
from ..configs import EMOJI, ModelConfig
from ..daemon import start_daemon
from ..errors import Busy, InputError, SDWidgetsError, Stopped
from ..manager import DEFAULT_MODEL, ModelManager, Request
from ..pictures import as_picture
from ..settings import LIMITS, SAMPLERS, SCHEDULES, Settings
from . import kernel
from .inside import Inside
from .picture import SHOWN, Frames, PictureView, jpeg, on_page
from .selection import SAFE_WHOLE
from .waiting import wait
from .watching import in_words, report

if TYPE_CHECKING:
    from ..diffusion import Step
    from ..manager import Job
    from ..trace import Trace
    from .viewer import Viewer

HISTORY = 12  # results kept
TRACES = 4  # of the newest of them, to be looked at from inside
THUMBNAIL = 64  # pixels along the longer side
SETTINGS = (
    "prompt",
    "negative_prompt",
    "seed",
    "steps",
    "guidance_scale",
    "strength",
    "sampler",
    "schedule",
    "width",
    "height",
    "batch_size",
)
"""The traits of the Studio that go into a run's Settings, under the same names."""

OWN = ("width", "height", "guidance_scale")
"""Those of them that every model has values of its own for."""


class Setting(kernel.AnyTrait):
    """A setting: of the right kind at once, within its limits when a run starts.

    So a person may type 33 into a field and is told what is wrong with it by Generate, while
    ``studio.steps = "3"`` raises InputError where it stands.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        kind = type(self.default_value)
        if kind is not str and type(value) is not bool:
            wanted: Any = numbers.Integral if kind is int else numbers.Real
            if isinstance(value, wanted) and -SAFE_WHOLE <= value <= SAFE_WHOLE:
                return kind(value)
        name = str(self.name)
        checked = Settings(**{name: value}).checked(EMOJI)
        if not isinstance(value, kind):  # a batch's list, or None: a control has no room for it
            raise InputError(
                f"{name} takes one value in the Studio, got {value!r}.\n"
                "Lists are for sample and generate of a model.",
                parameter=name,
            )
        return getattr(checked, name)


class StartPicture(kernel.AnyTrait):
    """A picture, whatever it is given as, made RGB; or None."""

    def validate(self, obj: Any, value: Any) -> Any:
        return None if value is None else as_picture(value)[0]


class Seed(Setting):
    """A setting that None rolls anew."""

    def validate(self, obj: Any, value: Any) -> Any:
        return secrets.randbelow(2**32) if value is None else super().validate(obj, value)


@dataclass(frozen=True)
class Result:
    """A finished run, as the history keeps it: what was set, and the pictures as PNG files."""

    id: int
    model: str
    settings: Settings
    files: tuple[bytes, ...]
    thumbnail: bytes
    title: str
    trace: Trace | None  # of the newest alone: it has every step
    image: Image.Image | None = None  # that it began from


@dataclass
class Run:
    """One press of Generate: the request, and how far it has come."""

    id: int
    model: str
    settings: Settings
    image: Image.Image | None = None  # to begin from
    thread: threading.Thread | None = None
    over: bool = False  # all is shown: the next run may begin
    finished: threading.Event = field(default_factory=threading.Event)
    changed: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    job: Job | None = None
    trace: Trace | None = None
    error: BaseException | None = None

    def stop(self) -> None:
        """Ask for the end; the run ends within a step. May come from any thread."""
        self.stopping.set()
        if self.job is not None:
            self.job.cancel()
        self.changed.set()


class Studio(ipywidgets.VBox):
    """Type a prompt, press Generate, and watch the picture come out of the noise.

    Every setting is a trait: read it, set it, observe it. A run goes on beside the notebook; other
    cells run meanwhile. ``Ctrl-Enter`` in a field generates.

    Example::

        studio = sdw.Studio(prompt="a cat left of a car on a blue background", seed=7)
        studio                      # shows it
        studio.generate()           # as the button does; returns at once
        studio.wait()               # the trace of the run, when it is done
        studio.trace.image
    """

    model = traitlets.Unicode(DEFAULT_MODEL)
    """Name of a model the manager knows, a path, or ``owner/name`` on the hub."""

    prompt = Setting("")
    """What should be in the picture."""

    negative_prompt = Setting("")
    """What should not be in it."""

    seed = Seed(0)
    """The number that the noise is made from. None rolls a new one."""

    steps = Setting(20)
    """How many denoising steps a run takes, 1 to 1000."""

    guidance_scale = Setting(float(EMOJI.guidance_scale))
    """How strongly the prompt is followed: 1 is without guidance. The model's own until set; so are
    width and height, and choosing another model makes all three follow that one."""

    image = StartPicture(None)
    """A picture to begin from (image to image): a PIL image, an array, a path or a file's bytes.
    None: from noise alone."""

    strength = Setting(0.8)
    """How much of that picture is made anew: 1 is all of it, near 0 hardly anything."""

    sampler = Setting(SAMPLERS[0])
    """The rule that goes from one noise level to the next."""

    schedule = Setting(SCHEDULES[0])
    """Which noise levels the steps stop at."""

    width = Setting(EMOJI.size)
    """Pixels, a multiple of the autoencoder's factor (8). The model's own until set."""

    height = Setting(EMOJI.size)
    """Pixels, a multiple of the autoencoder's factor (8). The model's own until set."""

    batch_size = Setting(1)
    """How many pictures a run makes, of the seeds seed, seed + 1, ..."""

    inside = traitlets.Bool(False)
    """Whether every step and every word of a run is shown: a `Viewer`, see `viewer`."""

    state = traitlets.Unicode("idle", read_only=True)
    """idle, loading, running, done, stopped or error."""

    trace = traitlets.Any(None, read_only=True)
    """The record of the last finished run; None before the first."""

    error = traitlets.Any(None, read_only=True)
    """The exception that ended the last run, or None."""

    # Before __init__ has come to them: a widget is closed when it is collected.
    _run: Run | None = None
    _parts: tuple[Any, ...] = ()
    _closed = False

    def __init__(self, manager: ModelManager | None = None, **settings: Any):
        self._lock = threading.RLock()
        self._inside = Inside(self._lock)  # first: a widget that is refused is closed, too
        known = {"model", "image", *SETTINGS}
        unknown = [name for name in settings if name not in known and not self.has_trait(name)]
        if unknown:
            raise TypeError(
                f"Studio() has no setting {unknown[0]!r}. Known: {', '.join(sorted(known))}."
            )
        self._manager = manager
        self._results: list[Result] = []
        self._chosen = {name for name in OWN if name in settings}
        self._adopting: int | None = None  # the thread on which values follow a model just now
        self._wrong: dict[str, InputError] = {}  # what stands in a control and can be no setting
        self.view = PictureView()
        self._controls: dict[str, Any] = {}
        self._outside = self._rows()
        super().__init__(self._outside, **settings)
        self.add_class("sdw-studio")
        self._bind()
        kernel.unpin(self, *self._parts)  # all of them, or a value and a click could change places
        kernel.replace_in_cell(self)
        if manager is None:  # what the first run needs is loaded while this is being drawn
            self.manager.warm_up(DEFAULT_MODEL)

    # ------------------------------------------------------------------------------ from Python

    @property
    def settings(self) -> Settings:
        """The settings as they stand, not yet checked against the model."""
        return Settings(**{name: getattr(self, name) for name in SETTINGS})

    @property
    def manager(self) -> ModelManager:
        """The manager that runs this Studio; the shared one, made at its first use, by default."""
        if self._manager is None:
            self._manager = shared_manager()
        return self._manager

    @property
    def viewer(self) -> Viewer | None:
        """What shows a run from inside: its ``step``, ``word`` and so on; None until opened."""
        return self._inside.viewer

    def generate(self) -> None:
        """Start a run with the current settings and return at once.

        Raises InputError for settings that cannot be used (nothing is computed, the last picture
        stays) and Busy while a run of this Studio goes on. The widget shows both too.
        """
        with self._lock:
            if self._closed:
                raise SDWidgetsError("This Studio is closed.\nMake a new one: sdw.Studio()")
            if self._goes_on():
                raise Busy(
                    "A run of this Studio goes on.\nWait for it with studio.wait(), or end it "
                    "with studio.stop()."
                )
            unset: dict[str, Any] = {name: None for name in OWN if name not in self._chosen}
            settings = replace(self.settings, **unset)
            try:
                for error in self._wrong.values():
                    raise error
                if self.model == DEFAULT_MODEL:  # others are known once they are loaded
                    settings.checked(EMOJI)
            except InputError as error:
                self._refuse(error)
                raise
            self._mark(None)
            number = self.view.begin("Starting")
            run = self._run = Run(number, self.model, settings, self.image)
            try:
                self.set_trait("error", None)
                self.view.shape = [settings.width or self.width, settings.height or self.height]
                self._set_state("loading", None)
                run.thread = start_daemon(f"sdwidgets studio run {run.id}", self._follow, run)
            except BaseException:  # who observes these may do anything
                run.over = True
                run.finished.set()
                raise

    def _goes_on(self) -> bool:
        return self._run is not None and not self._run.over

    def _adopt(self, run: Run, config: ModelConfig) -> None:
        """The run's model is loaded: what nobody has set follows it."""
        own = {
            "width": config.size,
            "height": config.size,
            "guidance_scale": config.guidance_scale,
        }
        self._adopting = threading.get_ident()
        try:
            for name in OWN:
                if name not in self._chosen and run.model == self.model:
                    setattr(self, name, own[name])
        finally:
            self._adopting = None
        self.view.shape = [run.settings.width or config.size, run.settings.height or config.size]

    def _choose(self, change: Any) -> None:
        """Somebody has set one of OWN; another model makes them follow again."""
        if change.name == "model":
            self._chosen.clear()
        elif self._adopting != threading.get_ident():
            self._chosen.add(change.name)

    def stop(self) -> None:
        """End the run that goes on, within a step; nothing happens when none does."""
        run = self._run
        if run is not None and not run.over:
            run.stop()

    def wait(self, timeout: float | None = None) -> Trace | None:
        """The trace of the current run once it is done; None if it was stopped.

        Raises what ended the run, and TimeoutError after ``timeout`` seconds. Ctrl-C stops the
        run and raises KeyboardInterrupt. Raises Busy in an observer of the run itself, where
        waiting would never end.
        """
        run = self._run
        if run is None:
            return None
        wait(
            run.finished,
            timeout,
            what="The run",
            is_here=run.thread is threading.current_thread(),
            stop=run.stop,
            instead="Wait in a cell, or observe `trace`.",
        )
        if run.error is not None:
            raise run.error.with_traceback(None)
        return run.trace

    def close(self) -> None:
        """End the run and take the widget off every page. Its thread ends within a step."""
        self._closed = True
        self.stop()
        for widget in (*self._parts, self):
            for part in (widget.layout, getattr(widget, "style", None)):
                if part is not None:  # each is a widget too, and nothing else closes it
                    part.close()
        for widget in self._parts:
            widget.close()
        self._inside.close()
        super().close()

    # -------------------------------------------------------------------------------- the rows

    def _rows(self) -> list[Any]:
        """The controls, ipywidgets all of them, and the view; css gives them their places."""
        w = ipywidgets
        self._generate_button = w.Button(
            description="Generate", tooltip="Generate a picture (Ctrl-Enter)"
        )
        self._stop_button = w.Button(description="Stop", tooltip="Stop within a step")
        self._dice = w.Button(tooltip="A new random seed")
        self._more = w.ToggleButton(description="More", tooltip="Sampler, size, model, batch")
        self._drop = w.Button(
            description="Begin from noise", tooltip="Without this picture: from noise alone"
        )
        self._start = w.Image(format="png")
        self._start.add_class("sdw-start-picture")
        self._look = w.ToggleButton(
            description="See inside", tooltip="Every step, and where each word looks"
        )
        labels = {
            "prompt": w.Textarea(
                description="prompt", rows=2, placeholder="a cat left of a car on a blue background"
            ),
            "negative_prompt": w.Text(description="without"),
            "seed": w.FloatText(description="seed", step=1),
            "steps": w.FloatText(description="steps", step=1),
            "guidance_scale": w.FloatText(description="guidance", step=0.5),
            "model": w.Combobox(
                description="model",
                options=[DEFAULT_MODEL],
                placeholder="emoji, a folder, a file, or owner/name",
            ),
            "strength": w.FloatText(description="made anew", step=0.05),
            "sampler": w.Dropdown(description="sampler", options=SAMPLERS),
            "schedule": w.Dropdown(description="noise levels", options=SCHEDULES),
            "width": w.FloatText(description="width", step=8),
            "height": w.FloatText(description="height", step=8),
            "batch_size": w.FloatText(description="pictures", step=1),
        }
        for name, control in labels.items():
            control.add_class(f"sdw-{name.replace('_', '-')}")
            if hasattr(control, "continuous_update"):
                control.continuous_update = name == "prompt"  # its tokens are counted live
        self._controls = labels
        for button, name in (
            (self._generate_button, "generate"),
            (self._stop_button, "stop"),
            (self._dice, "dice"),
            (self._more, "more"),
            (self._look, "look"),
            (self._drop, "drop"),
        ):
            button.add_class(f"sdw-{name}")

        def row(name: str, *children: Any) -> Any:
            box = w.HBox(children)
            box.add_class("sdw-row")
            box.add_class(f"sdw-{name}")
            return box

        c = labels
        self._count = w.Label("")
        self._count.add_class("sdw-count")
        self._count.add_class("mathjax_ignore")  # a prompt's dollars are dollars
        ask = row("ask", c["prompt"], self._count)
        seed = row("seed-row", c["seed"], self._dice)
        rows = [
            row("top", ask, self._generate_button, self._stop_button),
            row("main", c["negative_prompt"], seed, c["steps"], c["guidance_scale"],
                self._more, self._look),
            row("rest", *(c[n] for n in ("model", "sampler", "schedule")),
                *(c[n] for n in ("width", "height", "batch_size"))),
            row("start", self._start, c["strength"], self._drop),
        ]  # fmt: skip
        _, _, self._rest, self._begun = rows
        self._rest.add_class("sdw-folded")
        self._begun.add_class("sdw-folded")
        buttons = (
            self._generate_button, self._stop_button, self._dice, self._more, self._look, self._drop
        )  # fmt: skip
        self._parts = (
            *labels.values(), *buttons, self._count, self._start, ask, seed, *rows, self.view
        )  # fmt: skip
        return [*rows, self.view]

    def _bind(self) -> None:
        """Tie controls and traits together, and buttons to what they do."""
        for name, control in self._controls.items():
            self._show_setting(name)
            self.observe(lambda change: self._show_setting(change.name), name)
            control.observe(lambda change, name=name: self._take(name, change.new), "value")
        self.observe(self._choose, ["model", *OWN])
        self.observe(lambda _: self._count_tokens(), ["model", "prompt"])
        self.observe(self._reshape, ["width", "height"])
        self._reshape()
        self.observe(lambda _: self._show_start(), "image")
        self._show_start()
        self._drop.on_click(lambda _: self.set_trait("image", None))
        self._more.observe(self._fold, "value")
        self.observe(lambda _: self._open_or_close(), "inside")
        self._look.observe(lambda change: self.set_trait("inside", change.new), "value")
        if self.inside:
            self._open_or_close()
        self._dice.on_click(lambda _: self._roll())
        self._generate_button.on_click(lambda _: self._clicked())
        self._stop_button.on_click(lambda _: self.stop())
        self.view.on_msg(self._receive)

    def _show_setting(self, name: str) -> None:
        self._wrong.pop(name, None)
        self._controls[name].value = getattr(self, name)

    def _take(self, name: str, value: Any) -> None:
        """A control has changed: its value becomes the setting.

        What can be no setting stays in the control, marked, until somebody puts it right: a run
        would be of something else than what the page shows.
        """
        if isinstance(value, float) and value.is_integer() and name != "guidance_scale":
            value = int(value)
        self._wrong.pop(name, None)
        try:
            setattr(self, name, value)
        except InputError as error:
            self._wrong[name] = error
            self._refuse(error)

    def _count_tokens(self) -> None:
        """Say how many tokens the prompt has, where its model is loaded already."""
        text = ""
        manager = self._manager or _shared
        if manager is not None and self.model in manager.loaded():
            reader = manager.load(self.model).text
            if reader is not None:
                tokens = reader.tokenize([self.prompt])
                text = f"{len(tokens.pieces[0])} of {reader.capacity} tokens"
                if tokens.cut[0]:
                    text += f", not seen: {shortened(tokens.cut[0], 40)}"
        self._count.value = text

    def _reshape(self, change: Any = None) -> None:
        """The stage takes the shape of the picture to come, while there is none."""
        sides = self.width, self.height
        if not self.view.pictures and all(0 < side <= LIMITS["width"][1] for side in sides):
            self.view.shape = list(sides)

    def _fold(self, change: Any) -> None:
        if change.new:
            self._rest.remove_class("sdw-folded")
        else:
            self._rest.add_class("sdw-folded")

    def _show_start(self) -> None:
        """The picture to begin from and what goes with it, where there is one."""
        if self.image is None:
            self._begun.add_class("sdw-folded")
            self._start.value = b""
        else:
            self._start.value = thumbnail(self.image)
            self._begun.remove_class("sdw-folded")

    def _open_or_close(self) -> None:
        """Put the viewer in the place of the stage, or take it away."""
        self._look.value = self.inside
        if self.inside:
            viewer = self._inside.open(self.trace)
            kernel.unpin(self, *self._parts)
            self.children = [*self._outside, viewer]
            self.add_class("sdw-inside")
        else:
            self._inside.opened = False
            self.children = self._outside
            self.remove_class("sdw-inside")

    def _roll(self) -> None:
        self.seed = None

    # ----------------------------------------------------------------------- from the front end
    # These run on whatever thread the kernel handles messages on: they only start, or set events.

    def _clicked(self) -> None:
        try:
            self.generate()
        except SDWidgetsError:
            return  # shown already; a second click during a run does nothing
        except Exception as error:
            self._refuse(error)
            return
        if kernel.in_colab():  # a thread's updates are not painted there after the cell
            with contextlib.suppress(Exception):  # shown by the run
                self.wait()

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        """A message of the page; anything that is not as it should be is ignored."""
        if not isinstance(message, dict):
            return
        kind = message.get("kind")
        if kind == "generate":
            self._clicked()
        elif kind == "stop":
            self.stop()
        elif kind == "recall" and isinstance(message.get("id"), int):
            self._recall(message["id"])

    def _recall(self, number: int) -> None:
        """Show an earlier result and load its settings."""
        result = self._result(number)
        if result is None:
            return
        with self._lock:
            self.model, self.image = result.model, result.image
            for name in SETTINGS:
                setattr(self, name, getattr(result.settings, name))
                self._show_setting(name)
            self._chosen.update(OWN)
            if self._goes_on():
                return
            self._mark(None)
            self.view.begin("")
            if result.trace is not None:
                self._inside.show(result.trace)
            self._show(result, "An earlier picture; its settings are loaded")
        self.set_trait("error", None)
        self._set_state("done", None)

    # --------------------------------------------------------------------------------- the run

    def _follow(self, run: Run) -> None:
        """Submit the run and bring what happens to the page, on a thread of its own."""
        run.thread = threading.current_thread()  # it may be ahead of the one that started it
        frames = self.view._frames
        frames.begin(run.id, run.settings.steps)
        state = "stopped"
        try:
            state = self._drive(run, frames)
        except Stopped:
            pass
        except BaseException as error:
            state, run.error = "error", error
            if run.job is not None:  # not the run itself may have failed, but what shows it
                run.job.cancel()
        try:
            frames.send_all()
            message = self._ended(run)
            self._inside.end(run.trace, state, message)  # before the next run may begin
            self._finish(run, state, message)
        except BaseException as error:
            run.error, run.over = run.error or error, True
            with contextlib.suppress(Exception):
                self._refuse(run.error)
        finally:
            run.over = True
            run.finished.set()

    def _drive(self, run: Run, frames: Frames) -> str:
        """Submit the run and pass on its states and steps until it ends; returns its end."""
        manager = self.manager
        states: list[str] = []
        configs: list[ModelConfig] = []

        def on_state(state: str) -> None:
            try:
                if state == "running":  # so it is loaded, and this does not wait
                    model = manager.load(run.model)
                    configs.append(model.config)
                    frames.factors = model.preview_factors
                    self._inside.begin(model.sample(image=run.image, **run.settings.as_dict()))
            finally:
                states.append(state)
                run.changed.set()

        self._offer(manager.available())
        if run.stopping.is_set():
            raise Stopped("Stopped before the first step.")

        def on_step(step: Step) -> None:
            frames.add(step)
            self._inside.add(step)

        request = Request(model=run.model, settings=run.settings, image=run.image, attention=True)
        run.job = job = manager.submit(request, on_step=on_step, on_state=on_state)
        if run.stopping.is_set():
            job.cancel()
        words = {
            "queued": ("loading", "Getting ready"),
            "loading": ("loading", f"Loading {run.model}"),
            "running": ("running", "Denoising"),
        }

        def pass_on() -> None:
            while states:
                state = states.pop(0)
                if configs:
                    self._adopt(run, configs.pop())
                    self._count_tokens()
                if state in words:
                    self._set_state(*words[state])

        pause = 0.0
        while job.state in words:
            run.changed.wait(pause)  # steps wait for their message, states and Stop do not
            run.changed.clear()
            pass_on()
            pause = min(frames.send_some(), self._inside.flush())
        pass_on()  # a short run may be over before its states have been looked at
        run.trace = job.result()
        return "done"

    def _ended(self, run: Run) -> str:
        """What is said about a run that is over."""
        if run.error is not None:
            return in_words(run.error)
        if run.trace is not None:
            return report(run.trace, len(run.trace.steps))
        newest = self.view._frames.newest
        where = f"after step {newest[0]['step']}" if newest else "before the first step"
        return f"Stopped {where} of {run.settings.steps}"

    def _finish(self, run: Run, state: str, message: str) -> None:
        if self._closed:
            run.over = True
            self.set_trait("state", "stopped")
        elif state == "done" and run.trace is not None:
            self.set_trait("trace", run.trace)
            result = self._record(run)
            with self._lock:
                self._show(result, message)
                run.over = True
            self._set_state("done", None)  # last: who waits for it may start the next run
        elif run.error is not None:
            run.over = True
            self._refuse(run.error)
        else:
            self.view.say("stopped", message)
            run.over = True
            self._set_state("stopped", None)

    def _set_state(self, state: str, message: str | None) -> None:
        self.set_trait("state", state)
        if message is not None:
            self.view.say(state, message)

    def _refuse(self, error: BaseException) -> None:
        """Show an error; the last picture stays."""
        self.set_trait("error", error)
        self._mark(getattr(error, "parameter", None))
        message = in_words(error)
        if self._goes_on():  # of a field; the run is in order
            self.view.say(self.view.run["state"], message)
        else:
            self._set_state("error", message)

    def _mark(self, parameter: str | None) -> None:
        """Mark the control that an error is about, and no other."""
        for name, control in self._controls.items():
            if name == parameter:
                control.add_class("sdw-wrong")
                if control in self._rest.children:
                    self._more.value = True
            else:
                control.remove_class("sdw-wrong")

    # ------------------------------------------------------------------------------ the results

    def _result(self, number: int) -> Result | None:
        return next((result for result in self._results if result.id == number), None)

    def _record(self, run: Run) -> Result:
        """Put a finished run into the history; the oldest beyond the limit leaves it."""
        trace = run.trace
        assert trace is not None
        settings = trace.settings
        result = Result(
            id=run.id,
            model=run.model,
            settings=settings,
            files=tuple(trace.png(i) for i in range(len(trace.images))),
            thumbnail=jpeg(trace.images[0], THUMBNAIL),
            title=_title(run.model, settings, run.image is not None),
            trace=trace,
            image=run.image,
        )
        with self._lock:
            self._results = [*self._results, result][-HISTORY:]
            self._results[:-TRACES] = [replace(old, trace=None) for old in self._results[:-TRACES]]
            self.view.history = [
                {
                    "id": one.id,
                    "prompt": shortened(str(one.settings.prompt), SHOWN),
                    "seed": one.settings.seed,
                    "title": one.title,
                    "thumbnail": one.thumbnail,
                }
                for one in self._results
            ]
        return result

    def _show(self, result: Result, message: str) -> None:
        """Put a result on the stage."""
        settings = result.settings
        whole = [on_page(file, settings.of_picture(i)) for i, file in enumerate(result.files)]
        self.view.put(result.id, whole, settings.size, message)

    def _offer(self, names: Iterable[str]) -> None:
        """Put the models that the manager knows into the picker, and the one that is set."""
        control = self._controls["model"]
        control.options = tuple(dict.fromkeys([*control.options, *names, self.model]))

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "A Studio belongs to its notebook: it can be neither copied nor sent.\n"
            "Send its settings, studio.settings, and make a Studio there."
        )

    def __repr__(self) -> str:
        return f"Studio({self.prompt!r}, seed={self.seed}, model={self.model!r}): {self.state}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget; and where none can be shown, the last picture or a line of text."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        data: dict[str, Any] = {
            "text/plain": repr(self),
            "application/vnd.jupyter.widget-view+json": view,
        }
        # What a host must know to draw our own view is in the bundle of that view (Colab).
        bundle = self.view._repr_mimebundle_()
        metadata = bundle[1] if bundle else {}
        result = self._result(self.view.current)
        if result is not None:
            data["image/png"] = base64.b64encode(result.files[0]).decode()
        return data, metadata


def thumbnail(picture: Image.Image) -> bytes:
    """A small PNG of a picture."""
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "png")
    return file.getvalue()


def _title(model: str, settings: Settings, begun: bool) -> str:
    """The settings of a result in words; ``begun``: from a picture."""
    negative = shortened(str(settings.negative_prompt), SHOWN)
    without = f"without {negative!r}" if negative else ""
    parts = [
        shortened(str(settings.prompt), SHOWN) or "no prompt",
        without,
        f"seed {settings.seed}",
        f"{settings.steps} steps of {settings.sampler}",
        f"guidance {settings.guidance_scale:g}",
        f"from a picture, {settings.strength:.0%} made anew" if begun else "",
        f"{settings.width} x {settings.height}",
        model,
    ]
    return ", ".join(part for part in parts if part)


_shared_lock = threading.Lock()
_shared: ModelManager | None = None


def shared_manager() -> ModelManager:
    """The manager of every Studio that was not given one, made at its first use."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = ModelManager()
        return _shared
