"""What the autoencoder lab works out, beside the notebook, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from ..errors import InputError, SDWidgetsError
from . import lab_wire
from .newest import Newest
from .pace import Pace
from .watching import in_words

if TYPE_CHECKING:
    from ..lab.history import History
    from ..lab.picture import Picture
    from ..lab.receptive_field import Place
    from ..lab.workbench import Workbench

IsOld = Callable[[], bool]


def _worked_out(write: Callable[[Any, Any], Any], empty: Any = None) -> Any:
    """A trait that holds what the engine worked out; ``write`` makes of it what the page reads."""
    return traitlets.Any(empty).tag(sync=True, to_json=write)


class LabWork(traitlets.HasTraits):
    """The traits that the kernel sets, and the pieces of work that set them.

    A piece looks at what is chosen when its turn comes. Of each kind only the newest is shown; what
    nobody looks at (`panel`) is not worked out. The lock is held while traits change.
    """

    state = traitlets.Unicode("idle").tag(sync=True)
    """idle, working or error."""

    message = traitlets.Unicode("").tag(sync=True)
    """What a person should know: notices or an error, three lines at most."""

    picture = _worked_out(lab_wire.picture)
    """The picture looked at, a `lab.picture.Picture`: ``image``, ``name``, ``notices``."""

    second = _worked_out(lab_wire.picture)
    """The second one, for the way between two."""

    results = _worked_out(lab_wire.results, ())
    """A `lab.reconstruction.Reconstruction` for each of ``chosen``: ``image``, ``psnr``, ...."""

    latents = _worked_out(lab_wire.latents)
    """The active one's `lab.latents.Latents`: ``mean``, ``std``, ``sample`` [C, h, w] and so on."""

    edited = _worked_out(lab_wire.edited)
    """The picture after the edits, a `lab.edited.Edited`: ``image``, ``latents``, ``psnr``."""

    touch = _worked_out(lab_wire.touch)
    """What the cell or pixel asked for last touches, a `lab.receptive_field.ReceptiveField`."""

    between = _worked_out(lab_wire.between)
    """Frames from picture to second, a `lab.between.Between`; while ``panel`` is "between"."""

    noise = _worked_out(lab_wire.noise)
    """The picture at noise levels, a `lab.forward.Diffused`; while ``panel`` is "noise"."""

    # What may be chosen, see `Lab`.
    chosen: Any
    active: Any
    panel: Any

    def __init__(self, *args: Any, bench: Workbench, **kwargs: Any):
        self._bench = bench
        self._lock = threading.RLock()
        self._work = Newest(self._fail, self._settle)
        self._pace = Pace()
        self._histories: dict[str, History] = {}
        self._error: BaseException | None = None
        self._said = ""  # in place of notices, once all is done
        super().__init__(*args, **kwargs)

    # ---------------------------------------------------------------------- what is to be done

    def _show_all(self) -> None:
        """The picture is another."""
        for kind in ("touch", "between", "noise"):
            self._work.drop(kind)
        self._ask("results", self._work_results)
        self._show_active()

    def _show_active(self) -> None:
        """The picture or the active autoencoder is another."""
        if self.picture is not None and self.active:
            self._ask("latents", self._work_latents)
            self._ask("edited", self._work_edited)
            self._show_panel()

    def _show_panel(self) -> None:
        """Have worked out what is only needed while it is looked at."""
        if self.picture is None:
            return
        if self.panel == "play":
            self._ask("directions", self._work_directions, quiet=True)
        if self.panel == "between" and self.between is None:
            self._ask("between", self._work_between)
        if self.panel == "noise" and (self.noise is None or not self.noise.is_whole):
            self._ask("noise", self._work_noise)
        for name in ("between", "noise"):
            if name != self.panel:
                self._work.drop(name)

    def _remember(self, change: Callable[[History], History]) -> None:
        """Change the active one's edits, and have the picture follow."""
        from ..lab.history import History

        if self.picture is None:
            raise InputError("There is no picture to edit yet.")
        with self._lock:
            self._histories[self.active] = change(self._histories.get(self.active, History()))
            self._error = None
        self._ask("edited", self._work_edited, quiet=True)

    def _ask(self, kind: str, work: Callable[[IsOld], object], *, quiet: bool = False) -> None:
        """Have it done; what is ``quiet`` is too quick to say so."""
        with self._lock:
            if not quiet:
                self.state = "working"
            self._work.ask(kind, work)

    # ------------------------------------------------------- the pieces, on the worker's thread

    def _work_results(self, is_old: IsOld) -> None:
        picture, chosen = self.picture, list(self.chosen)
        done: list[Any] = []
        failure: SDWidgetsError | None = None
        for name in chosen:
            if is_old():
                return
            try:
                done.append(self._bench.rebuilt(name, picture))
            except SDWidgetsError as error:  # the others are shown all the same
                failure = failure or error
            if name == chosen[-1] or self._pace.left() <= 0:
                self._pace.sent()
                self._put_on_page(is_old, results=tuple(done))
        if failure is not None:
            raise failure

    def _work_latents(self, is_old: IsOld) -> None:
        from ..lab.latents import look_inside

        name = self.active
        encoded = self._bench.encoded(name, self.picture)
        latents = look_inside(name, self._bench.autoencoder(name), encoded)
        self._put_on_page(is_old, latents=latents)

    def _work_edited(self, is_old: IsOld) -> None:
        from ..lab.history import History

        with self._lock:
            name, picture = self.active, self.picture
            history = self._histories.get(name, History())
        edited = self._bench.edited(name, picture, history)
        self._breathe()
        self._put_on_page(is_old, edited=edited)

    def _work_directions(self, is_old: IsOld) -> None:
        if self._bench.find_directions(self.active):
            self._work_edited(is_old)

    def _work_touch(
        self, name: str, picture: Picture, of: Place, x: int, y: int, is_old: IsOld
    ) -> None:
        from ..lab.receptive_field import receptive_field

        encoded = self._bench.encoded(name, picture)
        field = receptive_field(self._bench.autoencoder(name), encoded, of, x, y)
        self._breathe()
        self._put_on_page(is_old, touch=field)

    def _work_between(self, is_old: IsOld) -> None:
        from ..lab.between import Between, between

        name, pictures = self.active, (self.picture, self.second)
        first, last = (self._bench.encoded(name, picture) for picture in pictures)
        frames = []
        for frame in between(self._bench.autoencoder(name), first, last):
            if is_old():
                return
            frames.append(frame)
        self._put_on_page(is_old, between=Between(name, tuple(frames)))

    def _work_noise(self, is_old: IsOld) -> None:
        from ..lab.forward import LEVELS, Diffused, forward_diffusion, prompt_of
        from ..pixels import to_tensor

        model, picture = self._bench.model, self.picture
        prompt = prompt_of(model, picture.caption)
        levels = []
        for level in forward_diffusion(model, to_tensor(picture.image), prompt, LEVELS):
            if is_old():
                return
            levels.append(level)
            if len(levels) % (LEVELS // 3) == 0:  # a list that grows is sent whole each time
                diffused = Diffused(model.name, prompt, tuple(levels), LEVELS)
                self._put_on_page(is_old, noise=diffused)

    def _put_on_page(self, is_old: IsOld, **traits: Any) -> None:
        """Set traits, unless something newer is on its way."""
        with self._lock, self._together():
            if not is_old():
                for name, value in traits.items():
                    setattr(self, name, value)

    def _breathe(self) -> None:
        """Wait until the page may hear of the next of many: a drag or a hover asks without end."""
        left = self._pace.left()
        if left > 0:
            time.sleep(left)
        self._pace.sent()

    def _fail(self, error: BaseException) -> None:
        with self._lock, self._together():
            self._error = error
            self.state, self.message = "error", in_words(error)

    def _settle(self) -> None:
        """All is done."""
        with self._lock, self._together():
            if self._error is not None:
                return
            said, self._said = self._said, ""
            lines = [said] if said else _notices(self.picture, self.results)
            self.state, self.message = "idle", "\n".join(lines)

    def _together(self) -> Any:
        """Inside this, traits go to the page in one message."""
        return self.hold_sync()  # type: ignore[attr-defined]  # the widget's, beside this


def _notices(picture: Any, results: Sequence[Any]) -> list[str]:
    """What to say about them: three lines at most, each once."""
    shown = [*([picture] if picture is not None else []), *results]
    return list(dict.fromkeys(notice for one in shown for notice in one.notices))[:3]
