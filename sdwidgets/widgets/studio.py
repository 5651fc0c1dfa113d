"""The Studio: a prompt becomes an image, live, in a notebook cell."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from .. import checks
from ..configs import EMOJI
from ..contract import PANELS, SYSTEMS
from ..errors import Busy, InputError, SDWidgetsError
from ..loras import Lora, loras_of
from ..manager import DEFAULT_MODEL, ModelManager, Request
from ..pictures import check_mask
from ..scenes import caption_words
from ..settings import LIMITS, TOLD, Settings, takes
from ..trace.png import given_to as said_given
from ..trace.png import settings_in
from . import kernel
from .beginning import Beginning
from .compare import Compare
from .controls import Controls, about
from .describing import Describing, config_of
from .easel import Easel, inside
from .final import finals
from .given import GIVEN
from .history import History
from .inputs import Inputs, given_in, given_to, is_worded, says_something, unset_for
from .last import LastResults
from .life import Living
from .live import LOOK, Live, followed, preview_of
from .more import MORE, Situation, taken
from .restored import guide_in, loras_known, said_of
from .results import Result
from .running import Running
from .setting import OF_SOME, OWN, SETTINGS, RunSettings
from .side import current_manager, shared_manager
from .stage import Reel, Stage
from .start import StartView
from .waiting import wait
from .watching import counted, in_words
from .words import count_of

if TYPE_CHECKING:
    from PIL import Image

    from ..configs import ModelConfig
    from ..run import Run
    from ..trace import Trace

CAUSES = (
    "model", "loras", "image", "mask", "pad", "batch_size", "width", "height", "hires", "guide",
    "guide_scale",
)  # fmt: skip
"""The settings that may cause an error which names none, such as too little memory."""


BEGINS = (
    "model",
    "image",
    "fit",
    "pad",
    "width",
    "height",
    "steps",
    "schedule",
    "sigmas",
    "seed",
    "variation",
    "start_step",
)
"""The settings on which it depends where a run from an image begins, beside the strength."""

GRID = 8
"""Pixels of which a side must be a multiple, with most autoencoders."""


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

    live = traitlets.Bool(False)
    """Whether the image follows the words and settings as they change: a preview of a few steps at
    once, which goes into no history, and the full run after a pause. An empty prompt and what no
    run takes are passed over in silence."""

    live_steps = traitlets.Int(None, allow_none=True, min=1, max=LIMITS["steps"][1])
    """The steps of a preview; None is a third of the model's own, but no fewer than 4."""

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
        known = {"model", "loras", *GIVEN, *SETTINGS}
        unknown = [name for name in settings if name not in known and not self.has_trait(name)]
        if unknown:
            raise TypeError(
                f"Studio() has no setting {unknown[0]!r}. Known: {', '.join(sorted(known))}."
            )
        self.view = Stage()
        start = StartView(
            self._take_image,
            self._take_mask,
            self._restore,
            {
                "paint": lambda _: self._paint(),
                "last": lambda _: self._last.start(),
                "word": lambda message: self._last.mask_word(message.get("word")),
                "change": lambda _: self._last.mask_change(),
            },
        )
        self.controls = Controls(start, self._take_loras, self._take_guide)
        self._lock = self.view.lock
        self._manager = manager
        self.history = History({"recall": self._recall, "use": self._use, "compare": self._compare})
        self._describing = Describing(self._show_words)
        self.beginning = Beginning(start.begin)
        self._live = Live(self._show_preview, self._run_in_full)
        self._chosen = {name for name in OWN if name in settings}
        self._described: tuple[str, ModelConfig | None] = "", None  # before it is loaded
        self._adopting: int | None = None  # the thread that is setting the model's defaults
        self._calm = "idle", ""  # state and message to return to once an error is corrected
        self._parts = (*self.controls.everything, self.view, self.history)
        super().__init__((*self.controls.rows, self.view, self.history), **settings)
        self.easel = Easel(self, self._lock, self.controls.place)
        self._last = LastResults(lambda: self.history.results, lambda: self.easel, self._use)
        self.inputs = Inputs(self, self._lock, self.controls.place_inputs, self._last.image)
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
        self._start()

    def _start(self, *, shown: bool = True) -> Running:
        """Start a run; ``shown``: whether its steps are shown as they come."""
        self._check_open()
        with self._lock:
            self._check_open()
            if self._goes_on():
                raise Busy(
                    "This Studio is still running.\nWait with studio.wait(), or stop it with "
                    "studio.stop()."
                )
            try:
                request = self._request()
            except InputError as error:
                if shown:
                    self._refuse(error)
                raise
            if shown:
                self._live.leave()
            self._mark(None)
            self.controls.loras.mark("", None)
            run = self._running = Running(
                self.manager,
                request,
                self.view,
                on_state=self._follow_state,
                on_message=self._say_loading if shown else self._say_beside,
                on_run=self._adopt,
                on_end=self._take_end if shown else self._quiet_end(self.view.message),
                shown=shown,
            )
            try:
                self.set_trait("error", None)
                if shown:
                    self.view.shape = list(self._size_to_come())
                    self._set_state("loading", "Starting")
                run.start()
            except BaseException:  # an observer may raise anything
                run.give_up()
                raise
            return run

    def _request(self) -> Request:
        """The run of the current settings. Raises InputError."""
        settings = self._asked()
        self._check(settings)
        given = given_to(self, self._situation().config)
        return Request(self.model, settings, attention=True, loras=self.loras, **given)

    def stop(self) -> None:
        """Stop the current run within a step. Without a run, nothing happens."""
        self._live.leave()
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
        self._live.close()
        self._describing.close()
        self.beginning.close()
        self.controls.loras.end()
        self._end_comparison()
        self.easel.close()
        self.inputs.close()

    # -------------------------------------------------------------------------------- the page

    def _bind(self) -> None:
        """Connect controls to traits and buttons to actions."""
        c = self.controls
        c.tie(self, self._refuse, self._accept)
        self.observe(
            lambda change: self._accept(change.name), ["model", "loras", *GIVEN, *SETTINGS]
        )
        self.observe(lambda change: c.loras.show(change.new), "loras")
        c.loras.show(self.loras)
        self.observe(lambda change: c.guide.show(change.new), "guide")
        c.guide.show(self.guide)
        self.observe(lambda change: c.guide.follow(change.new), "image")
        c.guide.follow(self.image)
        self.observe(self._choose, ["model", *OWN])
        self.observe(lambda _: self._describe(), ["model", "prompt", "weights", "chunks"])
        self._describe()
        self._look()
        self.observe(self._follow_image, "image")
        self.observe(self._grow, "pad")
        self._begin_with_pad()
        self.observe(self._count_levels, ["steps", "schedule", "sigmas"])
        self._count_levels(traitlets.Bunch(name="sigmas"))
        self.observe(lambda _: self._reshape(), ["image", "pad", "width", "height", "hires"])
        self.observe(lambda _: self._follow_change(), ["model", "loras", *GIVEN, *SETTINGS])
        self.observe(lambda _: self._switch_live(), "live")
        c.live.observe(lambda change: self.set_trait("live", change.new), "value")
        self._switch_live()
        self._reshape()
        self.observe(self._show_start, ["image", "mask", "fit", "pad", "width", "height"])
        self._show_start()
        on = ["model", "image", "sampler", "steps", "sigmas", "width", "height", "hires"]
        self.observe(lambda _: self._show_more(), on)
        self._show_more()
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
        self.history.observe(
            lambda _: self.inputs.offer(self._last.offer(self.controls.start)), "entries"
        )
        traitlets.dlink((self.view, "current"), (self.history, "current"))
        self.view.on_msg(self._hear)
        self.observe(lambda _: None if self._goes_on() else self._redraw(), "state")
        self.observe(lambda _: self._look_where_it_begins(), ["state", *BEGINS])
        self._look_where_it_begins()

    def _choose(self, change: Any) -> None:
        """Remember which of OWN were set. Another model forgets that, and is described."""
        if change.name == "model":
            self._chosen.clear()
            self.schedule = Settings.schedule
            for name in OF_SOME:
                setattr(self, name, None)
            self._look()
        elif self._adopting != threading.get_ident():
            self._chosen.add(change.name)

    def _follow_image(self, _: Any) -> None:
        """A mask and new area belong to an image: those that do not fit another go."""
        if self.image is None:
            self.mask = self.pad = None
        elif self.mask is not None and self.mask.size != self.image.size:
            self.mask = None

    def _grow(self, change: Any) -> None:
        """Let the size of the whole grow and shrink with the new area around the start image."""
        for axis, name in enumerate(("width", "height")):
            more, less = (
                -(-(pad[axis] + pad[axis + 2]) // GRID) * GRID if pad else 0
                for pad in (change.new, change.old)
            )
            if more != less:
                setattr(self, name, max(getattr(self, name) + more - less, GRID))

    def _begin_with_pad(self) -> None:
        """Add the new area that the Studio is made with to sizes that it was not given."""
        width, height = (name in self._chosen for name in ("width", "height"))
        if self.pad is not None:
            size = self.width, self.height
            self._grow(traitlets.Bunch(new=self.pad, old=None))
            self.width, self.height = (
                size[0] if width else self.width,
                size[1] if height else self.height,
            )

    def _count_levels(self, change: Any) -> None:
        """Noise levels by hand, or steps and a grid: whichever was set last."""
        if self.sigmas is None:
            return
        if change.name == "sigmas":
            with self.hold_trait_notifications():  # until both agree with the levels
                self.steps, self.schedule = len(self.sigmas) - 1, Settings.schedule
        elif self.steps != len(self.sigmas) - 1 or self.schedule != Settings.schedule:
            self.sigmas = None

    def _situation(self) -> Situation:
        """What decides which settings a run takes, as far as that is known by now."""
        manager = self._manager or current_manager()
        is_loaded = manager is not None and self.model in manager.loaded()
        config = EMOJI if self.model == DEFAULT_MODEL else None
        if manager is not None and is_loaded:
            config = manager.load(self.model).config
        elif self._described[0] == self.model:
            config = self._described[1]
        return Situation(self.settings, config, self.image is not None)

    def _asked(self) -> Settings:
        """The settings of the next run: those that it does not take, whose controls are hidden, and
        those that the model decides are left at their defaults."""
        now = self._situation()
        own = [name for name in OWN if name not in self._chosen]
        unset: dict[str, Any] = {name: getattr(Settings, name) for name in MORE}
        for name in taken(now):
            del unset[name]
        if "pad" not in unset and self.pad is not None:  # the size on show is that of the whole
            own = [name for name in own if name not in ("width", "height")]
        unset |= dict.fromkeys(own) | unset_for(now.config)
        if self.image is None:
            unset |= {"strength": Settings.strength, "fit": Settings.fit}
        if self.guide is None:
            unset["guide_scale"] = Settings.guide_scale
        if self.sigmas is not None:
            unset |= {"steps": None, "schedule": Settings.schedule}
        return replace(self.settings, **unset)

    def _size_to_come(self) -> tuple[int, int]:
        """(width, height) in pixels of the image to come."""
        return replace(self._asked(), width=self.width, height=self.height).final_size

    def _show_more(self) -> None:
        """Show the controls of the settings that a run takes now."""
        self.controls.show_more(self._situation())

    def _look_where_it_begins(self) -> None:
        """Show where on the schedule a run from the start image begins; not during a run."""
        size, start = inside(self), self.controls.start
        config = self._situation().config
        from_noise = config is not None and config.starts_from_noise
        there = self.image is not None and size is not None and not from_noise
        start.steps = self.steps if there and not self.start_step else 0
        manager = self._manager or current_manager()
        if not there or manager is None or self.model not in manager.loaded():
            self.beginning.forget()
        elif size is not None and not self._goes_on():
            model = manager.load(self.model)
            self.beginning.look(model, self.image, size, replace(self._asked(), steps=self.steps))

    def _describe(self) -> None:
        """Show what is known of the model, and how it reads the prompt."""
        words, manager = self.controls.words, self._manager or current_manager()
        if manager is None or self.model not in manager.loaded():
            if self._described[0] != self.model:
                self.controls.about.value = ""
            self.controls.show_told(())
            words.count = ""
            words.show(self.prompt, caption_words() if self.model == DEFAULT_MODEL else None)
            self._show_inputs()
            return
        model = manager.load(self.model)
        self._show_more()
        self._show_inputs()
        self.controls.about.value = about(model)
        self.controls.show_told([name for name in TOLD if takes(model.config, name)])
        words.show(self.prompt, model.vocabulary)
        text = ""
        if model.text is not None:
            text = count_of(model.text, self.prompt, self.settings)
        words.count = text

    def _show_inputs(self) -> None:
        """Show what the model takes: the prompt, the start image, and the panels of all else."""
        config = self._situation().config
        self.inputs.show(config)
        self.controls.show_taken(
            worded=config is None or is_worded(config),
            image=config is None or "image" in config.takes,
        )

    def _look(self) -> None:
        """Find out what the chosen model is, as long as it is not loaded."""
        if self.model != DEFAULT_MODEL:
            self._describing.look(self.model)

    def _show_words(self, model: str, line: str, config: ModelConfig | None) -> None:
        """Show what a model is, found out in the background, unless more is known by now."""
        with self._lock:
            manager = self._manager or current_manager()
            is_loaded = manager is not None and model in manager.loaded()
            if model == self.model and not is_loaded and not self._closed:
                self._described = model, config
                self.controls.about.value = line
                self._show_inputs()

    def _reshape(self) -> None:
        """Give the empty stage the shape of the image to come."""
        if not self.view.pictures and self._is_size():
            self.view.shape = list(self._size_to_come())

    def _open_or_close(self) -> None:
        """Open or close the panels of a run's inside."""
        self.controls.look.value = self.inside
        self.view.panels = list(PANELS) if self.inside else []
        (self.add_class if self.inside else self.remove_class)("sdw-inside")

    # ---------------------------------------------------------------------------- live typing

    def _switch_live(self) -> None:
        self.controls.live.value = self.live
        self.controls.fields["negative_prompt"].continuous_update = self.live
        if not self.live:
            self._live.leave()
        elif not self.view.pictures:
            self._follow_change()

    def _follow_change(self) -> None:
        """Let the image follow a change, unless a run made it, which takes the model's defaults."""
        by_run = self._adopting == threading.get_ident()
        if self.live and not by_run and not self._closed:
            self._live.change()

    def _show_preview(self, is_old: Callable[[], bool]) -> bool:
        """Make a preview and show it; return whether it is on show."""
        with contextlib.suppress(SDWidgetsError):  # the full run says what is wrong for good
            request = self._request()
            if not says_something(request, self._situation().config):
                return False
            loaded = self.manager.loaded()
            config = self.manager.load(self.model).config if self.model in loaded else None
            settings = preview_of(request.settings, config, self.live_steps)
            fast = replace(request, settings=settings, attention=False)
            said = self.view.message
            try:
                trace = followed(self.manager, fast, is_old, self._say_beside)
            finally:
                self._say_beside(said)
            with self._lock:
                if trace is not None and self.live and not self._closed and not self._goes_on():
                    self.view.put(trace, f"Preview: {counted(trace.expected)}")
                    return True
        return False

    def _run_in_full(self, is_old: Callable[[], bool]) -> None:
        """Make the run of the settings on show, while nothing changes."""
        try:
            if not says_something(self._request(), self._situation().config):
                return
            run = self._start(shown=False)
        except (InputError, Busy):  # half a number, or a run that was asked for by hand
            return
        while not run.finished.wait(LOOK):
            if is_old():
                run.stop()

    def _quiet_end(self, said: str) -> Callable[[Running, str, str], None]:
        """A function that shows a run whose steps were not shown. What was stopped, or what no
        model takes, leaves the image as it is, and ``said`` below it."""

        def take(run: Running, state: str, message: str) -> None:
            is_quiet = state == "stopped" or isinstance(run.error, InputError)
            if state == "done" and run.trace is not None and not self._closed:
                run.number = self.view.put(run.trace, message)
            elif is_quiet and not self._closed:
                self._say_beside(said)
                run.over = True
                self.set_trait("state", self.view.state)
                return
            self._take_end(run, state, message)

        return take

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
        """Start from an image file, or from noise; a model that enlarges takes it for that."""
        if "low_res" in self.inputs.panels:
            self.low_res = file
            return
        self.image = file
        self.mask = self.pad = None  # they belonged to another

    def _take_mask(self, file: bytes | None) -> None:
        """Take the mask of the start image from a file, or none."""
        self.mask = file

    def _take_loras(self, loras: tuple[Lora, ...]) -> None:
        """Take the LoRAs of the rows."""
        self.loras = loras

    def _take_guide(self, guide: Any) -> None:
        """Take the guide that was chosen in its row."""
        self.guide = guide

    def _show_start(self, change: Any = None) -> None:
        """Show the start image as a run begins from it."""
        if change is not None and change.name == "image":
            self.controls.start.say()  # what was said of the image before
        if self._is_size():
            self.controls.start.show(self.image, inside(self) or (1, 1), self.mask)

    def _is_size(self) -> bool:
        return all(0 < side <= LIMITS["width"][1] for side in (self.width, self.height))

    def _restore(
        self,
        record: dict[str, Any],
        came: Collection[str],
        more: Mapping[str, Any] | None = None,
    ) -> str:
        """Load the settings in a record, as `read_record` returns it; return what to say about it.

        ``came``: which of the run's "image" and "mask" came with it, and are taken already.
        ``more``: what else it was given that came: its label map, its neighbours.
        """
        settings, given = settings_in(record), said_given(record)
        made_by = str(record.get("model"))
        made_by = SYSTEMS.get(made_by, made_by)
        known = made_by in self.manager.available()  # others would be fetched by a stranger's file
        guide, unguided = guide_in(record)
        with self._lock:
            image = self.low_res if "low_res" in self.inputs.panels else self.image
            self._load(made_by if known else self.model, settings)
            if "image" not in given:
                self.image = None
            elif "image" in came:
                self._take_given(image)
            if "mask" not in came:
                self.mask = None
            for name, value in (more or {}).items():
                setattr(self, name, value)
            if "neighbours" not in given:
                self.neighbours = ()
            self.guide = guide
        missing = [] if record.get("program") else self._load_loras(record.get("sources"))
        said = [*came, *(more or ())]
        return said_of(
            record, settings, given, said, is_known=known, missing=missing, unguided=unguided
        )

    def _take_given(self, image: Image.Image | None) -> None:
        """Let a record's image be what its model takes: one to enlarge, or to start from."""
        config = self._situation().config or config_of(self.model)
        if config is None or "low_res" not in config.takes:
            self.image = image
        else:
            self.low_res, self.image = image, None

    def _load_loras(self, sources: Any) -> list[str]:
        """Take a record's LoRAs whose files are known here; return the others in words."""
        used = [*self.loras, *(lora for result in self.history.results for lora in result.loras)]
        self.loras, missing = loras_known(sources, used)
        return missing

    def _load(self, model: str, settings: Settings) -> None:
        """Take these settings, all or none, and show them in their fields; None stays as it is."""
        values = {name: getattr(settings, name) for name in SETTINGS}
        one = settings.prompt, settings.negative_prompt, settings.seed, *(settings.variation or ())
        if any(isinstance(value, tuple) for value in one):
            raise InputError("These are the settings of a batch; the Studio takes single values.")
        self.model = model
        for name, value in values.items():
            if value is not None or name in OF_SOME or name in MORE:
                setattr(self, name, value)
                self.controls.fill(name, getattr(self, name))
        self._chosen.update(name for name in OWN if values[name] is not None)

    def _use(self, number: int, index: int) -> None:
        """Start from an image of an earlier result."""
        result = self.history.results.find(number)
        if result is not None and 0 <= index < len(result.images):
            size = self.width, self.height
            self.image = result.images[index]["data"]
            self.pad = None  # what was new area is in the image now
            self.width, self.height = size

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
                self._arrange()
            else:
                self.comparison.show(*traces)

    def _end_comparison(self) -> None:
        """Remove the comparison."""
        comparison, self.comparison = self.comparison, None
        if comparison is not None:
            self._arrange()
            comparison.close()

    def _arrange(self) -> None:
        """Place the comparison at the end, if there is one."""
        compared = [self.controls.apart, self.comparison] if self.comparison else []
        self.children = (*self.controls.rows, self.view, self.history, *compared)

    def _paint(self) -> None:
        """Open the Painter, or close it."""
        if self.easel.painter is None:
            self.easel.open()
        else:
            self.easel.close()

    def _recall(self, number: int, _: int = 0) -> None:
        """Show an earlier result and load its settings."""
        result = self.history.results.find(number)
        if result is None:
            return
        with self._lock:
            self._load(result.model, result.settings)
            self.loras = result.loras
            for name in GIVEN:
                setattr(self, name, result.given.get(name))
            self._live.leave()  # it is here already
            if self._goes_on():
                return
            self._mark(None)
            self.view.shape = list(result.settings.final_size)
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
            self.inputs.compare(run.request.low_res, run.trace.image)
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
                        loras_of(request.loras),
                        given_in(request),
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

    def _say_loading(self, message: str) -> None:
        self.view.say("loading", message)

    def _say_beside(self, message: str) -> None:
        """Say what a run that is not shown waits for, below the image that stays."""
        self.view.say(self.view.state, message)

    def _set_state(self, state: str, message: str) -> None:
        self.set_trait("state", state)
        self.view.say(state, message)

    def _check(self, settings: Settings) -> None:
        """Raise InputError if no run takes these settings, as far as that is known by now."""
        if self.controls.wrong is not None:
            raise self.controls.wrong
        if self.mask is not None:
            if self.image is None:
                raise InputError(
                    "A mask was given without an image.\nGive the image that it belongs to.",
                    parameter="mask",
                )
            check_mask(self.image, self.mask)
        if self.model == DEFAULT_MODEL:  # other models are checked once they are loaded
            settings.checked(EMOJI)

    def _accept(self, name: str) -> None:
        """A setting was changed: the error about it goes, unless the new value is wrong, too."""
        about = getattr(self.error, "parameter", None)
        name = "mask" if (name, about) == ("image", "mask") else name  # they must fit each other
        if self.error is None or (name != about if about else name not in CAUSES):
            return
        try:
            self._check(self._asked())
        except InputError as error:
            if error.parameter == name or error is self.controls.wrong:
                self._refuse(error)
                return
        self.set_trait("error", None)
        self._mark(None)
        if self._goes_on():
            self.view.say(self.view.state, "Denoising")
        else:
            self._set_state(*self._calm)

    def _mark(self, parameter: str | None) -> None:
        """Mark what an error is about, and nothing else."""
        self.controls.mark(parameter)
        self.inputs.mark(parameter)

    def _refuse(self, error: BaseException) -> None:
        """Show an error. The last image stays."""
        if self.state != "error":
            over = self.state in ("idle", "done", "stopped")
            calm = "done" if self.view.pictures else "idle"
            self._calm = (self.state, self.view.message) if over else (calm, "")
        self.set_trait("error", error)
        self._mark(getattr(error, "parameter", None))
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
