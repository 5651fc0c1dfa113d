"""What the autoencoder lab computes in the background, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError, SDWidgetsError
from .newest import Newest
from .pace import Pace
from .watching import in_words

if TYPE_CHECKING:
    from ..lab.history import History
    from ..lab.original import Original
    from ..lab.receptive_field import Place
    from ..lab.workbench import Workbench
    from ..models.autoencoder import Autoencoder

IsOld = Callable[[], bool]


class Subject(NamedTuple):
    """What the lab looks at: its images, the names of the autoencoders, and the open panel."""

    picture: Original | None
    second: Original | None
    chosen: Sequence[str]
    active: str
    panel: str


class LabWork:
    """Computes what a lab shows, on a thread of its own.

    ``subject()`` says what is looked at; each piece of work asks when its turn comes. Of each kind
    of work only the newest is done, and what only a closed panel shows is not computed.
    ``show(**values)`` gets the results: `Lab`'s traits ``results``, ``latents``, ``edited``,
    ``touch``, ``between`` and ``noise``, and its ``state`` and ``message``. It is called with the
    ``lock`` held. Whoever changes the subject holds the lock, too, and then calls the method that
    is named after the change.
    """

    def __init__(
        self,
        workbench: Workbench,
        subject: Callable[[], Subject],
        show: Callable[..., object],
    ):
        self.lock = threading.RLock()
        self.error: BaseException | None = None
        """What went wrong last; None again once something new is asked for."""
        self._workbench, self._subject, self._show = workbench, subject, show
        self._queue = Newest(self.fail, self._settle)
        self._pace = Pace()
        self._histories: dict[str, History] = {}  # by autoencoder
        self._results: tuple[Any, ...] = ()
        self._whole: set[str] = set()  # panels whose result is complete
        self._said = ""  # in place of notices, once all is done

    # ------------------------------------------------------------------------------ waiting

    @property
    def idle(self) -> threading.Event:
        """Set while there is nothing to compute."""
        return self._queue.idle

    @property
    def is_here(self) -> bool:
        """Whether the caller is on the thread that computes."""
        return self._queue.is_mine

    def close(self) -> None:
        """Compute nothing more; what is under way ends within a step."""
        self._queue.close()

    # ---------------------------------------------------------------------------- what changed

    def new_picture(self) -> None:
        """The first image has changed: results and edits of the one before go."""
        with self.lock:
            self._histories.clear()
            self._results = ()
            self._forget("noise")
            self._show(results=(), noise=None)
            self.refresh()

    def refresh(self) -> None:
        """Compute everything again for the same image, after an autoencoder was replaced."""
        with self.lock:
            self.new_choice()
            self.new_active()

    def new_second(self) -> None:
        """The second image has changed."""
        with self.lock:
            self._forget("between")
            self._show(between=None)
            self.new_panel()

    def new_choice(self) -> None:
        """Other autoencoders are side by side."""
        if self._subject().picture is not None:
            self._ask("results", self._compute_results)

    def new_active(self) -> None:
        """Another autoencoder is looked into."""
        with self.lock:
            self._forget("touch")
            self._forget("between")
            self._show(touch=None, between=None)
            subject = self._subject()
            if subject.picture is not None and subject.active:
                self._ask("latents", self._compute_latents)
                self._ask("edited", self._compute_edited)
                self.new_panel()

    def new_panel(self) -> None:
        """Another panel is open: compute what it shows, and nothing for the others."""
        subject = self._subject()
        if subject.picture is None:
            return
        if subject.panel == "play":
            self._ask("directions", self._compute_directions, quiet=True)
        for panel, work in (("between", self._compute_between), ("noise", self._compute_noise)):
            if panel != subject.panel:
                self._queue.drop(panel)
            elif panel not in self._whole and (panel != "between" or subject.second is not None):
                self._ask(panel, work)

    def put(self, name: str, autoencoder: Autoencoder) -> None:
        """Use this autoencoder under that name in all work asked for from now on."""
        with self.lock:
            self._histories.pop(name, None)
            self._ask(f"put {name}", lambda _: self._workbench.put(name, autoencoder))

    def edit(self, change: Callable[[History], History]) -> None:
        """Change the edits of the active autoencoder's latents. Raises ``InputError`` without an
        image, and what ``change`` raises."""
        from ..lab.history import History

        with self.lock:
            subject = self._subject()
            if subject.picture is None:
                raise InputError("There is no image to edit yet.")
            history = self._histories.get(subject.active, History())
            self._histories[subject.active] = change(history)
            self.error = None
            self._ask("edited", self._compute_edited, quiet=True)

    def reach(self, of: Place, x: int, y: int) -> None:
        """Compute the receptive field of a cell or pixel. ``InputError`` without an image."""
        with self.lock:
            subject = self._subject()
            if subject.picture is None:
                raise InputError("There is no image yet.")
            work = partial(self._compute_field, subject.active, subject.picture, of, x, y)
            self._ask("touch", work, quiet=True)

    def do(self, kind: str, work: Callable[[], object], said: str = "") -> None:
        """Do something else in turn; when all is done, ``said`` stands in place of notices."""

        def doing(_: IsOld) -> None:
            work()
            self._said = said or self._said

        self._ask(kind, doing)

    def fail(self, error: BaseException) -> None:
        """Show what went wrong."""
        with self.lock:
            self.error = error
            self._show(state="error", message=in_words(error))

    # ------------------------------------------------------------------------------ the queue

    def _ask(self, kind: str, work: Callable[[IsOld], object], *, quiet: bool = False) -> None:
        """Have it done. ``quiet``: too quick to say so."""
        with self.lock:
            if not quiet:
                self.error = None
                self._show(state="working")
            self._queue.ask(kind, work)

    def _forget(self, kind: str) -> None:
        """Drop work of this kind that waits or is under way; its result counts no more."""
        self._queue.drop(kind)
        self._whole.discard(kind)

    # ----------------------------------------------------- the pieces, on the worker's thread

    def _compute_results(self, is_old: IsOld) -> None:
        subject = self._subject()
        picture, chosen = subject.picture, list(subject.chosen)
        assert picture is not None
        done: list[Any] = []
        failure: SDWidgetsError | None = None
        for name in chosen:
            if is_old():
                return
            try:
                done.append(self._workbench.reconstruction(name, picture))
            except SDWidgetsError as error:  # the others are still shown
                failure = failure or error
            if name == chosen[-1] or self._pace.left() <= 0:
                self._pace.sent()
                self._show_results(is_old, tuple(done))
        if failure is not None:
            raise failure

    def _show_results(self, is_old: IsOld, results: tuple[Any, ...]) -> None:
        with self.lock:
            if not is_old():
                self._results = results
                self._show(results=results)

    def _compute_latents(self, is_old: IsOld) -> None:
        from ..lab.latents import look_inside

        subject = self._subject()
        assert subject.picture is not None
        encoded = self._workbench.encoded(subject.active, subject.picture)
        autoencoder = self._workbench.autoencoder(subject.active)
        self._show_new(is_old, latents=look_inside(subject.active, autoencoder, encoded))

    def _compute_edited(self, is_old: IsOld) -> None:
        from ..lab.history import History

        with self.lock:
            subject = self._subject()
            history = self._histories.get(subject.active, History())
        assert subject.picture is not None
        edited = self._workbench.edited(subject.active, subject.picture, history)
        self._breathe()
        self._show_new(is_old, edited=edited)

    def _compute_directions(self, is_old: IsOld) -> None:
        if self._workbench.find_directions(self._subject().active):
            self._compute_edited(is_old)

    def _compute_field(
        self, name: str, picture: Original, of: Place, x: int, y: int, is_old: IsOld
    ) -> None:
        from ..lab.receptive_field import receptive_field

        encoded = self._workbench.encoded(name, picture)
        field = receptive_field(self._workbench.autoencoder(name), encoded, of, x, y)
        self._breathe()
        self._show_new(is_old, touch=field)

    def _compute_between(self, is_old: IsOld) -> None:
        from ..lab.between import Between, between

        subject = self._subject()
        assert subject.picture is not None and subject.second is not None
        first = self._workbench.encoded(subject.active, subject.picture)
        second = self._workbench.encoded(subject.active, subject.second)
        frames = []
        for frame in between(self._workbench.autoencoder(subject.active), first, second):
            if is_old():
                return
            frames.append(frame)
        self._show_panel(is_old, "between", Between(subject.active, tuple(frames)), whole=True)

    def _compute_noise(self, is_old: IsOld) -> None:
        from ..lab.forward import LEVELS, Diffused, forward_diffusion, prompt_of
        from ..pixels import to_tensor

        model, picture = self._workbench.model, self._subject().picture
        assert picture is not None
        prompt = prompt_of(model, picture.caption)
        levels = []
        for level in forward_diffusion(model, to_tensor(picture.image), prompt, LEVELS):
            if is_old():
                return
            levels.append(level)
            if len(levels) % (LEVELS // 3) == 0:  # a growing list is sent whole each time
                diffused = Diffused(model.name, prompt, tuple(levels), LEVELS)
                self._show_panel(is_old, "noise", diffused, whole=diffused.is_whole)

    def _show_panel(self, is_old: IsOld, panel: str, value: object, *, whole: bool) -> None:
        with self.lock:
            if not is_old():
                self._show(**{panel: value})
                if whole:
                    self._whole.add(panel)

    def _show_new(self, is_old: IsOld, **values: Any) -> None:
        """Show results, unless something newer is on its way."""
        with self.lock:
            if not is_old():
                self._show(**values)

    def _breathe(self) -> None:
        """Wait until the page may get its next message: a drag or a hover asks without end."""
        left = self._pace.left()
        if left > 0:
            time.sleep(left)
        self._pace.sent()

    def _settle(self) -> None:
        """All is done."""
        with self.lock:
            if self.error is not None:
                return
            said, self._said = self._said, ""
            lines = [said] if said else notices(self._subject().picture, self._results)
            self._show(state="idle", message="\n".join(lines))


def notices(picture: Any, results: Sequence[Any]) -> list[str]:
    """The notices of an image and its results: at most three lines, each once."""
    all_ = [*([picture] if picture is not None else []), *results]
    return list(dict.fromkeys(notice for one in all_ for notice in one.notices))[:3]
