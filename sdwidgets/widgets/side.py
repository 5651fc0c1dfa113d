"""The kernel's end of JupyterLab's side panel: a comm target, and what is said over its comms.

The panel shows the default manager, that of all Studios. When that comes to be, pages are told by a
comm of the target's name; see `contract.SIDE`. What pages say is queued where it arrives, on the
kernel's own threads, and answered on a thread of this module, which lives while a page listens. A
second thread does what takes time, so that Stop never waits for an image.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import checks
from ..checkpoints.listing import Listing
from ..contract import SIDE, SIDE_EVERY, SIDE_LIMITS
from ..daemon import start_daemon
from ..errors import InputError
from ..manager import FINAL, Job, ModelManager
from ..trace.trace import Trace
from ..usage import usage
from ..version import __version__
from . import kernel
from .gallery import Gallery
from .side_wire import cut, job_entry, model_entries, sendable
from .watching import in_words

TARGET = str(SIDE["target"])
HELLO = {"v": SIDE["v"], "version": __version__}

SILENCE = 3 * SIDE_EVERY["alive"] / 1000
"""Seconds by which a page may have been silent for longer than another. A reloaded page says no
goodbye; and while a cell keeps the kernel busy, nobody is heard."""

AGAIN = 1.0  # seconds until what has failed is tried again
MOST_PAGES = 64
MOST_MESSAGES = 1_000  # of pages, that wait
LONGEST_NAME = 4_096  # characters of a model's name, or of a folder

log = logging.getLogger(__name__)

_shared: ModelManager | None = None
_side: Side | None = None
_lock = threading.RLock()


def shared_manager() -> ModelManager:
    """The manager of every Studio that was given none. Made at first use, and after it was closed.

    In a kernel, it then announces itself to JupyterLab's side panel.
    """
    global _shared, _side
    with _lock:
        if _shared is None or _shared.closed:
            _shared = ModelManager()
            try:
                if _side is None:
                    _side = Side()
                _side.show(_shared)
            except Exception:  # the panel is an extra
                log.warning("The side panel cannot show this kernel's models.", exc_info=True)
        return _shared


def current_manager() -> ModelManager | None:
    """The manager of `shared_manager`, if it has come to be."""
    return _shared


def connect() -> ModelManager:
    """Return the manager that all Studios share, and show it in JupyterLab's side panel.

    A Studio without a manager of its own does so by itself; this is for kernels that use none. What
    is submitted to that manager, its models and the images of its runs appear in the panel. It may
    be called again. It returns at once, and imports no torch.
    """
    return shared_manager()


@dataclass(eq=False)
class Page:
    """A page, or a tab, that has opened a comm."""

    comm: Any
    heard: float  # when it last said something, by `time.monotonic`
    is_greeted: bool = False
    is_watching: bool = False  # memory
    wants_models: bool = False
    due: set[str] = field(default_factory=set)  # kinds of messages
    sent: dict[str, float] = field(default_factory=dict)  # when, by kind
    said: dict[str, dict[str, Any]] = field(default_factory=dict)  # the last message, by kind


class Side:
    """Announces a manager to pages, and serves them."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()  # never held for long: the kernel's threads take it
        self._wake = threading.Event()
        self._inbox: deque[tuple[Page, Any]] = deque(maxlen=MOST_MESSAGES)  # None: it is closed
        self._pages: list[Page] = []
        self._news: set[str] = set()  # kinds of messages that are out of date
        self._thread: threading.Thread | None = None
        self._later: deque[Callable[[], object]] = deque()  # what takes time
        self._later_thread: threading.Thread | None = None
        self._closed = False
        self._announcement: Any = None
        self._manager: ModelManager | None = None
        self._leave: Callable[[], None] = lambda: None
        self._gallery = Gallery()
        self._images: tuple[dict[str, Any], Sequence[bytes]] = {"images": []}, ()  # the message
        self._ended: deque[dict[str, Any]] = deque(maxlen=SIDE_LIMITS["ended"])
        self._failed: dict[str, str] = {}  # why a model could not be loaded, by its name
        self._listing = Listing(lambda: self._tell("models"), self._is_busy)

    def show(self, manager: ModelManager) -> None:
        """Show a manager, instead of an earlier one."""
        self._leave()
        self._manager = manager
        self._leave = manager.follow(self._take_change, self._take_record)
        self._tell("jobs", "models")
        if self._announcement is None:
            self._announce()

    def close(self) -> None:
        """Close all comms. The kernel lists no manager any more."""
        self._leave()
        self._listing.close()
        with self._lock:
            self._closed, announcement = True, self._announcement
            comms = [page.comm for page in self._pages]
            self._pages, self._announcement = [], None
        for comm in [announcement, *comms]:
            if comm is not None:
                comm.on_close(None)
                comm.close()
        self._wake.set()

    def _announce(self) -> None:
        comms = kernel.comm_manager()
        if comms is None:
            return
        before = comms.targets.get(TARGET)
        if before is not None:  # of this module, before it was imported again
            getattr(before, "__self__", self).close()
        comms.register_target(TARGET, self.opened)
        self._announcement = comm = kernel.open_comm(TARGET, dict(HELLO))
        comm.on_close(lambda _: kernel.keep_open(comm))

    # ------------------------------------------------------------------ on the kernel's threads

    def opened(self, comm: Any, _: Any) -> None:
        """Take the comm of a page, and answer its opening as a hello."""
        page = Page(comm, time.monotonic())
        kernel.unpin(page)
        comm.on_msg(lambda message: self._hear(page, message))
        comm.on_close(lambda _: self._queue(page, None))
        with self._lock:
            if self._closed or os.getpid() != self._process:
                return
            self._pages = [*self._pages, page][-MOST_PAGES:]
            if self._thread is None:
                self._thread = start_daemon(
                    "sdwidgets side panel", self._serve, end=self._end, patience=2.0
                )
        self._queue(page, {"kind": "hello"})

    def _hear(self, page: Page, message: Any) -> None:
        try:
            data = message["content"]["data"]
            kind = data["kind"]
        except Exception:  # anything may come
            return
        if isinstance(kind, str):
            page.heard = time.monotonic()
            self._queue(page, data)

    def _queue(self, page: Page, data: Any) -> None:
        self._inbox.append((page, data))
        self._wake.set()

    # -------------------------------------------------------------------- on the manager's threads

    def _take_change(self, job: Job | None) -> None:
        if job is None or job.state == "running":
            self._tell("jobs", *(["models"] if job is None else []))
            return
        with self._lock:
            if job.state in FINAL:
                self._ended.append(job_entry(job))
            if job.request is None:
                self._failed.pop(job.model, None)
                if job.error is not None:
                    self._failed[job.model] = in_words(job.error)
        self._tell("jobs", "models")

    def _take_record(self, job: Job, trace: Trace) -> None:
        self._gallery.add(job.model, trace)
        if self._pages:
            self._do_later(self._draw)

    def _tell(self, *kinds: str) -> None:
        with self._lock:
            self._news.update(kinds)
        self._wake.set()

    # -------------------------------------------------------------------------- on its own thread

    def _end(self) -> None:
        self._closed = True
        self._wake.set()

    def _serve(self) -> None:
        pause: float | None = None
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            try:
                while self._inbox:
                    self._answer(*self._inbox.popleft())
                self._drop_silent()
                pause = self._push()
            except Exception:  # it must go on: pages wait for it
                log.warning("The side panel cannot be told.", exc_info=True)
                pause = AGAIN
            with self._lock:
                if self._closed or not (self._pages or self._inbox):
                    self._thread = None
                    return

    def _answer(self, page: Page, message: Any) -> None:
        if message is None:
            self._drop(page)
            return
        kind = message["kind"]
        acts: dict[str, Callable[[Page, dict[str, Any]], object]] = {
            "hello": self._hello,
            "watch": self._watch,
            "models": self._look,
            "load": self._load,
            "unload": self._unload,
            "stop": self._stop,
            "move": self._move,
            "image": self._image,
        }
        act = acts.get(kind)
        if act is not None and kind in ("unload", "image"):
            self._do_later(lambda: self._try(act, page, message))
        elif act is not None:
            self._try(act, page, message)

    def _try(
        self, act: Callable[[Page, dict[str, Any]], object], page: Page, message: dict[str, Any]
    ) -> None:
        try:
            act(page, message)
        except Exception as error:
            log.debug("A request of the side panel is refused.", exc_info=True)
            said = {"about": message["kind"], "message": cut(in_words(error))}
            self._send(page, "refused", said)

    def _hello(self, page: Page, _: Any) -> None:
        device = self._shown().device
        self._send(page, "welcome", {**HELLO, "device": device})
        page.is_greeted = True
        page.said.clear()
        page.due.add("jobs")
        self._do_later(self._draw)

    def _watch(self, page: Page, message: dict[str, Any]) -> None:
        page.is_watching = checks.flag("visible", message.get("visible"))

    def _look(self, page: Page, message: dict[str, Any]) -> None:
        folders = message.get("folders", [])
        if not isinstance(folders, list) or len(folders) > SIDE_LIMITS["folders"]:
            most = SIDE_LIMITS["folders"]
            raise InputError(f"folders must be a list of at most {most} folders.")
        self._listing.look([_text("A folder", folder) for folder in folders])
        page.wants_models = True
        page.said.pop("models", None)
        page.due.add("models")

    def _load(self, _: Page, message: dict[str, Any]) -> None:
        name = _text("name", message.get("name"))
        manager = self._shown()
        waiting = [job.model for job in manager.jobs() if job.request is None]
        if name not in waiting and name not in manager.loaded():
            manager.warm_up(name)

    def _unload(self, _: Page, message: dict[str, Any]) -> None:
        self._shown().unload(_text("name", message.get("name")))

    def _stop(self, _: Page, message: dict[str, Any]) -> None:
        number, jobs = message.get("job"), self._shown().jobs()
        if number is not None:
            self._job(number).cancel()
        elif jobs:
            jobs[0].cancel()

    def _move(self, _: Page, message: dict[str, Any]) -> None:
        to = checks.whole("to", message.get("to"), 0, 2**31)
        self._shown().move(self._job(message.get("job")), to)

    def _image(self, page: Page, message: dict[str, Any]) -> None:
        picture = self._gallery.find(message.get("id"))
        if picture is None:
            raise InputError("This image is no longer kept.")
        self._send(page, "image", {"id": picture.id}, [picture.png()])

    def _job(self, number: object) -> Job:
        for job in self._shown().jobs():
            if checks.is_whole(number) and job.id == number:
                return job
        raise InputError("This job has ended.")

    def _is_busy(self) -> bool:
        """Whether a run goes on, which nothing should slow down."""
        return any(job.request is not None for job in self._shown().jobs())

    def _shown(self) -> ModelManager:
        assert self._manager is not None  # before it shows one, it has no pages
        return self._manager

    # ---------------------------------------------------------------------------------- messages

    def _push(self) -> float | None:
        """Send what is due to each page; return the seconds until more is, None if nothing is."""
        with self._lock:
            news, self._news = self._news, set()
            pages = [*self._pages]
        made: dict[str, tuple[dict[str, Any], Sequence[bytes]]] = {}
        pauses = []
        for page in pages:
            if not page.is_greeted:
                continue
            page.due |= news
            for kind in self._wanted(page):
                every = SIDE_EVERY[kind] / 1000
                left = page.sent.get(kind, -every) + every - time.monotonic()
                if left > 0:
                    pauses.append(left)
                    continue
                try:
                    if kind not in made:
                        made[kind] = self._make(kind)
                except Exception:  # it is tried again, and other kinds do not wait for it
                    log.debug("The side panel cannot be told of %s.", kind, exc_info=True)
                    page.sent[kind] = time.monotonic() + AGAIN
                    pauses.append(AGAIN)
                    continue
                self._send_new(page, kind, *made[kind])
                page.due.discard(kind)
                if kind == "memory":
                    pauses.append(every)
        return min(pauses, default=None)

    def _wanted(self, page: Page) -> list[str]:
        kinds: list[str] = [kind for kind in ("jobs", "images") if kind in page.due]
        if page.wants_models and "models" in page.due:
            kinds.append("models")
        return [*kinds, "memory"] if page.is_watching else kinds

    def _make(self, kind: str) -> tuple[dict[str, Any], Sequence[bytes]]:
        manager = self._shown()
        if kind == "jobs":
            jobs = [job_entry(job) for job in manager.jobs()[: SIDE_LIMITS["jobs"]]]
            with self._lock:
                return {"jobs": [*self._ended, *jobs]}, ()
        if kind == "images":
            return self._images
        if kind == "memory":
            found = usage(manager.device)
            names = ("device", "name", "total", "free", "process")
            return {name: getattr(found, name) for name in names}, ()
        loading = [
            job.model for job in manager.jobs() if job.request is None or job.state == "loading"
        ]
        done, listed = self._listing.done, self._listing.models
        with self._lock:
            failed = dict(self._failed)
        entries = model_entries(listed, manager.loaded(), loading, failed)
        return {"models": entries[: SIDE_LIMITS["models"]], "done": done}, ()

    def _send_new(
        self, page: Page, kind: str, data: dict[str, Any], buffers: Sequence[bytes]
    ) -> None:
        """Send a message, unless the page has heard it."""
        if kind == "memory" or page.said.get(kind) != data:
            page.said[kind] = data
            self._send(page, kind, data, buffers)
        page.sent[kind] = time.monotonic()

    def _send(
        self, page: Page, kind: str, data: dict[str, Any], buffers: Sequence[bytes] = ()
    ) -> None:
        try:
            page.comm.send({"kind": kind, **sendable(data)}, buffers=list(buffers))
        except Exception:
            log.debug("The side panel cannot be told.", exc_info=True)

    # ---------------------------------------------------------------------------- what takes time

    def _do_later(self, work: Callable[[], object]) -> None:
        with self._lock:
            self._later.append(work)
            if self._later_thread is None:
                self._later_thread = start_daemon("sdwidgets side panel's images", self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                work = self._later.popleft() if self._later and not self._closed else None
                if work is None:
                    self._later_thread = None
                    return
            try:
                work()
            except Exception:
                log.warning("The side panel's images cannot be made.", exc_info=True)

    def _draw(self) -> None:
        """Make the message with the last images."""
        pictures = self._gallery.pictures
        entries = [each.entry() for each in pictures]
        self._images = {"images": entries}, [each.thumbnail for each in pictures]
        self._tell("images")

    # -------------------------------------------------------------------------------------- pages

    def _drop(self, page: Page) -> None:
        with self._lock:
            self._pages = [one for one in self._pages if one is not page]

    def _drop_silent(self) -> None:
        """Close the comms of pages that others have outlived."""
        latest = max((page.heard for page in self._pages), default=0.0)
        for page in [one for one in self._pages if latest - one.heard > SILENCE]:
            self._drop(page)
            try:
                page.comm.close()
            except Exception:
                log.debug("A comm of the side panel cannot be closed.", exc_info=True)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
        raise InputError(f"{what} must be a text of 1 to {LONGEST_NAME:,} characters.")
    return value
