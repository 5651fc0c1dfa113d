"""The kernel's end of JupyterLab's side panel, over comms that a test holds."""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
from PIL import Image

import sdwidgets
from sdwidgets import contract
from sdwidgets.checkpoints import listing
from sdwidgets.manager import ModelManager, Request, State
from sdwidgets.settings import Settings
from sdwidgets.trace import read_settings
from sdwidgets.widgets import gallery, kernel, side, side_wire

LIMIT = 120  # seconds, more than anything here takes
TINY = Settings("a cat", width=16, height=16, steps=4, seed=1)

Heard = tuple[dict[str, Any], list[bytes]]


class Comm:
    """A comm as the kernel has it, with a page at its other end."""

    def __init__(self, target_name: str = "", data: Any = None) -> None:
        self.target_name, self.data, self._closed = target_name, data, False
        self.heard: list[Heard] = []
        self._told = threading.Condition()
        self._on_msg: Any = None
        self._on_close: Any = None

    def on_msg(self, callback: Any) -> None:
        self._on_msg = callback

    def on_close(self, callback: Any) -> None:
        self._on_close = callback

    def send(self, data: dict[str, Any], buffers: list[bytes]) -> None:
        assert not self._closed
        with self._told:
            self.heard.append((data, buffers))
            self._told.notify_all()

    def close(self) -> None:
        with self._told:
            self._closed = True
            self._told.notify_all()

    # The page's side.

    def say(self, kind: str, **fields: Any) -> None:
        self.say_anything({"content": {"data": {"kind": kind, **fields}}})

    def say_anything(self, message: Any) -> None:
        self._on_msg(message)

    def leave(self) -> None:
        self._closed = True
        if self._on_close is not None:
            self._on_close({})

    def wait(self, kind: str, fits: Callable[[dict[str, Any]], object] = lambda _: True) -> Heard:
        """Return the first message of that kind that fits, as soon as it is there."""

        def found() -> Heard | None:
            return next((m for m in self.heard if m[0]["kind"] == kind and fits(m[0])), None)

        with self._told:
            assert self._told.wait_for(found, LIMIT), [data for data, _ in self.heard]
            message = found()
        assert message is not None
        return message

    def wait_closed(self) -> None:
        with self._told:
            assert self._told.wait_for(lambda: self._closed, LIMIT)

    def forget(self) -> None:
        """Forget what was heard so far."""
        with self._told:
            self.heard.clear()


class Comms:
    """The manager of a kernel's comms."""

    def __init__(self) -> None:
        self.targets: dict[str, Any] = {}
        self.comms: list[Comm] = []

    def register_target(self, name: str, callback: Any) -> None:
        self.targets[name] = callback

    def register_comm(self, comm: Comm) -> None:
        self.comms.append(comm)

    def open(self, target: str, data: dict[str, Any]) -> Comm:
        self.comms.append(Comm(target, data))
        return self.comms[-1]

    def page(self) -> Comm:
        """Open a comm as a page does."""
        comm = Comm()
        self.targets[contract.SIDE["target"]](comm, {"content": {"data": {}}})
        comm.wait("welcome")
        return comm


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Comms]:
    """The comms of a kernel in which no manager has come to be."""
    comms = Comms()
    monkeypatch.setattr(kernel, "comm_manager", lambda: comms)
    monkeypatch.setattr(kernel, "open_comm", comms.open)
    monkeypatch.setattr(side, "_shared", None)
    monkeypatch.setattr(side, "_side", None)
    yield comms
    if side._side is not None:
        side._side.close()
    if side._shared is not None:
        side._shared.close()


@pytest.fixture
def shown(comms: Comms, model: Any, monkeypatch: pytest.MonkeyPatch) -> ModelManager:
    """The default manager, which has the tiny model under every name."""
    monkeypatch.setattr(side, "ModelManager", lambda: ModelManager(load=lambda name, **_: model))
    return side.shared_manager()


@pytest.fixture
def page(shown: ModelManager, comms: Comms) -> Comm:
    return comms.page()


def ended(job: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a message says that the job has ended."""
    return lambda data: any(
        one["id"] == job and one["state"] in ("done", "stopped", "error") for one in data["jobs"]
    )


def job_in(data: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a job of a message; every field is None if it is not there."""
    missing: dict[str, Any] = dict.fromkeys(contract.SIDE_JOB)
    return next((one for one in data["jobs"] if one["id"] == number), missing)


# ------------------------------------------------------------------------------- announcement


def test_a_manager_announces_itself_when_it_comes_to_be(comms: Comms) -> None:
    assert not comms.comms and not comms.targets
    manager = sdwidgets.connect()
    (comm,) = comms.comms
    assert comm.target_name == contract.SIDE["target"]
    assert comm.data == {"v": contract.SIDE["v"], "version": sdwidgets.__version__}
    assert sdwidgets.connect() is manager and comms.comms == [comm]


def test_the_default_manager_is_that_of_studios(comms: Comms, shown: ModelManager) -> None:
    with_own = sdwidgets.Studio()
    assert with_own.manager is shown
    with_own.close()


def test_outside_of_a_kernel_nothing_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side, "_shared", None)
    monkeypatch.setattr(side, "_side", None)
    monkeypatch.setattr(kernel, "comm_manager", lambda: None)
    monkeypatch.setattr(kernel, "open_comm", lambda *_: pytest.fail("a comm without a kernel"))
    with sdwidgets.connect() as manager:
        assert manager.loaded() == []


def test_a_kernel_that_refuses_comms_has_a_manager_all_the_same(
    comms: Comms, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("no comms here")

    monkeypatch.setattr(kernel, "open_comm", refuse)
    assert sdwidgets.connect().loaded() == []
    assert "side panel" in caplog.text


def test_an_announcement_that_a_page_does_not_know_stays_for_others(comms: Comms) -> None:
    sdwidgets.connect()
    (comm,) = comms.comms
    comms.comms.clear()
    comm.leave()
    assert comms.comms == [comm] and not comm._closed


def test_a_manager_that_was_closed_is_replaced(
    comms: Comms, shown: ModelManager, page: Comm
) -> None:
    shown.close()
    page.forget()
    other = sdwidgets.connect()
    assert other is not shown and not other.closed
    assert len(comms.comms) == 1  # the same announcement
    job = other.submit(Request("tiny", TINY))
    page.wait("jobs", ended(job.id))


def test_a_module_that_is_imported_again_takes_over(
    comms: Comms, page: Comm, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = comms.comms
    monkeypatch.setattr(side, "_shared", None)
    monkeypatch.setattr(side, "_side", None)
    sdwidgets.connect()
    assert before._closed
    page.wait_closed()
    assert comms.comms[-1] is not before
    comms.page()


# -------------------------------------------------------------------------------------- pages


def test_an_opening_and_a_hello_are_answered(page: Comm) -> None:
    for _ in range(2):
        data, _ = page.wait("welcome")
        assert data == {
            "kind": "welcome",
            "v": contract.SIDE["v"],
            "version": sdwidgets.__version__,
            "device": "",
        }
        assert page.wait("jobs")[0]["jobs"] == []
        assert page.wait("images")[0]["images"] == []
        page.forget()
        page.say("hello", v=99, version="99.0", more="of a later version")


def test_every_page_hears_the_same(shown: ModelManager, comms: Comms) -> None:
    pages = [comms.page() for _ in range(3)]
    job = shown.submit(Request("tiny", TINY))
    for one in pages:
        one.wait("jobs", ended(job.id))
        one.wait("images", lambda data: data["images"])


def test_a_page_that_has_left_hears_nothing(shown: ModelManager, comms: Comms, page: Comm) -> None:
    other = comms.page()
    page.leave()  # its comm refuses messages from now on
    job = shown.submit(Request("tiny", TINY))
    other.wait("jobs", ended(job.id))
    assert not any(ended(job.id)(data) for data, _ in page.heard if data["kind"] == "jobs")


def test_the_thread_ends_with_the_last_page(comms: Comms, page: Comm) -> None:
    thread = side._side._thread
    assert thread is not None and thread.is_alive()
    page.leave()
    thread.join(LIMIT)
    assert not thread.is_alive()
    comms.page()  # and begins again


def test_a_page_that_others_have_outlived_is_dropped(comms: Comms, page: Comm) -> None:
    (gone,) = side._side._pages
    gone.heard -= side.SILENCE + 1
    other = comms.page()
    page.wait_closed()
    assert not other._closed


def test_a_page_alone_is_never_dropped(page: Comm) -> None:
    (silent,) = side._side._pages
    silent.heard -= 10 * side.SILENCE
    page.forget()
    side._side._tell("jobs")
    page.say("watch", visible=True)
    page.wait("memory")


def test_a_forked_process_serves_no_page(
    comms: Comms, shown: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side.os, "getpid", lambda: -1)
    comm = Comm()
    comms.targets[contract.SIDE["target"]](comm, {})
    assert side._side._pages == [] and comm.heard == []


MALFORMED = [
    None,
    {},
    {"content": None},
    {"content": {"data": 7}},
    {"content": {"data": ["kind"]}},
    {"content": {"data": {}}},
    {"content": {"data": {"kind": None}}},
    {"content": {"data": {"kind": ["hello"]}}},
    {"content": {"data": {"kind": "unheard of"}}},
]


@pytest.mark.parametrize("message", MALFORMED, ids=str)
def test_what_is_no_message_is_ignored(page: Comm, message: Any) -> None:
    page.say_anything(message)
    page.say("load")
    page.wait("refused")
    assert [data for data, _ in page.heard if data["kind"] == "refused"] == [
        {"kind": "refused", "about": "load", "message": page.wait("refused")[0]["message"]}
    ]


HUGE = [10**400, "x" * 10**6, ["x"] * 10**5]
STRANGE: list[Any] = [*HUGE, None, True, -1, 1.5, float("nan"), "", "\0", "\ud800", [], {}, [[]]]


@pytest.mark.parametrize("kind", [kind for kind in contract.SIDE_ASKS if kind != "hello"])
def test_strange_values_are_refused(page: Comm, kind: str) -> None:
    for value in STRANGE:
        page.say(kind, **dict.fromkeys(contract.SIDE_ASKS[kind], value))
    page.forget()
    page.say("hello")
    page.wait("welcome")  # all before have been answered
    for data, _ in page.heard:
        if data["kind"] == "refused":
            assert set(data) == {"kind", *contract.SIDE_SAYS["refused"]}
            assert len(data["message"]) <= contract.SIDE_LIMITS["text"]


# --------------------------------------------------------------------------------------- jobs


def test_a_run_is_followed_to_its_end(shown: ModelManager, page: Comm, gate: Any) -> None:
    gate.closed = True
    job = shown.submit(Request("tiny", TINY))
    first = job_in(page.wait("jobs", lambda data: data["jobs"])[0], job.id)
    assert set(first) == set(contract.SIDE_JOB)
    assert first["prompt"] == "a cat" and first["model"] == "tiny"
    page.wait("jobs", lambda data: job_in(data, job.id)["steps"] == 4)
    gate.open()
    last = job_in(page.wait("jobs", ended(job.id))[0], job.id)
    assert (last["state"], last["step"], last["steps"]) == ("done", 4, 4)
    assert last["seconds"] >= 0 and last["eta"] is None


def test_states_of_jobs_and_models_are_those_of_the_contract() -> None:
    assert set(get_args(State)) == set(contract.JOB_STATES)
    assert (*get_args(listing.Place), "memory") == contract.MODEL_PLACES
    assert (*get_args(listing.State), "loading", "loaded") == contract.MODEL_STATES


def test_stop_ends_the_job_that_runs(shown: ModelManager, page: Comm, gate: Any) -> None:
    gate.closed = True
    running, waiting = (shown.submit(Request("tiny", TINY)) for _ in range(2))
    page.wait("jobs", lambda data: job_in(data, running.id)["steps"])
    page.say("stop")
    gate.open()
    assert running.wait(LIMIT) and waiting.wait(LIMIT)
    assert (running.state, waiting.state) == ("stopped", "done")
    assert "Stopped" in job_in(page.wait("jobs", ended(running.id))[0], running.id)["message"]


def test_stop_waits_for_no_image(
    shown: ModelManager, page: Comm, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown.submit(Request("tiny", TINY)).wait(LIMIT)
    (image,) = page.wait("images", lambda data: data["images"])[0]["images"]
    drawn = threading.Event()
    monkeypatch.setattr(gallery.Picture, "png", lambda _: drawn.wait(LIMIT) and b"png")
    gate.closed = True
    job = shown.submit(Request("tiny", TINY))
    page.wait("jobs", lambda data: job_in(data, job.id)["steps"])
    page.say("image", id=image["id"])
    page.say("stop")
    assert job._stop.wait(LIMIT)
    gate.open()
    assert job.wait(LIMIT) and job.state == "stopped"
    drawn.set()
    assert page.wait("image")[1] == [b"png"]


def test_what_fails_on_the_panels_thread_ends_nothing(
    shown: ModelManager, page: Comm, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def fail(*_: Any) -> Any:
        failed.set()
        raise RuntimeError("no jobs")

    with monkeypatch.context() as patched:
        patched.setattr(shown, "jobs", fail)
        side._side._tell("jobs")
        assert failed.wait(LIMIT)
    page.forget()
    page.say("hello")
    page.wait("jobs")


def test_a_job_that_waits_can_be_stopped_and_moved(
    shown: ModelManager, page: Comm, gate: Any
) -> None:
    gate.closed = True
    running, second, third, fourth = (shown.submit(Request("tiny", TINY)) for _ in range(4))
    page.wait("jobs", lambda data: job_in(data, running.id)["steps"] and len(data["jobs"]) == 4)
    page.say("stop", job=second.id)
    page.say("move", job=fourth.id, to=0)
    moved, _ = page.wait(
        "jobs",
        lambda data: (
            [one["id"] for one in data["jobs"]] == [second.id, running.id, fourth.id, third.id]
        ),
    )
    assert [one["ahead"] for one in moved["jobs"]] == [0, 0, 1, 2]
    page.say("move", job=running.id, to=1)
    assert page.wait("refused")[0]["about"] == "move"
    page.forget()
    page.say("stop", job=10**6)
    assert page.wait("refused")[0]["message"] == "This job has ended."
    gate.open()


def test_only_the_last_jobs_that_ended_are_told(shown: ModelManager, page: Comm) -> None:
    most = contract.SIDE_LIMITS["ended"]
    jobs = [shown.submit(Request("tiny", TINY)) for _ in range(most + 2)]
    data, _ = page.wait("jobs", ended(jobs[-1].id))
    assert [one["id"] for one in data["jobs"]] == [job.id for job in jobs[-most:]]


def test_a_job_that_fails_says_why_without_folders(
    comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **_: Any) -> Any:
        raise OSError(f"{name} is broken")

    monkeypatch.setattr(side, "ModelManager", lambda: ModelManager(load=fail))
    sdwidgets.connect()
    page = comms.page()
    page.say("load", name="/home/ana/models/cat.safetensors")
    data, _ = page.wait("jobs", ended(1))
    (job,) = data["jobs"]
    assert job["state"] == "error" and job["prompt"] is None and job["model"] == "cat.safetensors"
    assert job["message"] == "OSError: cat.safetensors is broken"


def test_a_name_that_cannot_be_sent_is_sent_otherwise(page: Comm) -> None:
    page.say("load", name="half a \ud800 pair")
    data, _ = page.wait("jobs", ended(1))
    assert job_in(data, 1)["model"].encode().startswith(b"half a ")
    assert side_wire.sendable({"a": (float("nan"), 1.5, "\U0001f600")}) == {
        "a": [None, 1.5, "\U0001f600"]
    }


def test_long_prompts_are_cut(shown: ModelManager, page: Comm) -> None:
    job = shown.submit(Request("tiny", Settings("cat " * 2000, width=16, height=16, steps=1)))
    data, _ = page.wait("jobs", ended(job.id))
    assert len(job_in(data, job.id)["prompt"]) == contract.SIDE_LIMITS["text"]


# ------------------------------------------------------------------------------------- images


def test_the_last_images_are_there_with_their_settings(shown: ModelManager, comms: Comms) -> None:
    job = shown.submit(Request("/home/ana/tiny", Settings("a cat", batch_size=2, **SIZE)))
    assert job.wait(LIMIT)
    page = comms.page()  # which comes later
    data, buffers = page.wait("images")
    assert len(buffers) == len(data["images"]) == 2
    first, second = data["images"]
    assert set(first) == set(contract.SIDE_IMAGE)
    assert (first["name"], first["model"]) == ("/home/ana/tiny", "tiny")
    assert (first["width"], first["height"], second["seed"]) == (16, 16, first["seed"] + 1)
    assert Image.open(io.BytesIO(buffers[0])).format == "JPEG"
    page.say("image", id=second["id"])
    told, (png,) = page.wait("image")
    assert told == {"kind": "image", "id": second["id"]}
    assert read_settings(png) == job.result().settings.of_picture(1)
    page.say("image", id=10**6)
    assert page.wait("refused")[0]["about"] == "image"


SIZE: dict[str, Any] = {"width": 16, "height": 16, "steps": 1, "seed": 5}


def test_only_so_many_images_are_kept(shown: ModelManager) -> None:
    kept = gallery.Gallery()
    trace = shown.submit(Request("tiny", Settings("a cat", batch_size=10, **SIZE))).result(LIMIT)
    for _ in range(4):
        kept.add("tiny", trace)
    assert [one.id for one in kept.pictures] == list(range(17, 41))
    assert len(kept.pictures) == contract.SIDE_LIMITS["images"]


def test_only_so_many_pixels_are_kept(shown: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = gallery.Gallery()
    trace = shown.submit(Request("tiny", Settings("a cat", **SIZE))).result(LIMIT)
    monkeypatch.setattr(gallery, "MOST_PIXELS", 2 * 16 * 16 + 1)
    for _ in range(3):
        kept.add("tiny", trace)
    assert [one.id for one in kept.pictures] == [2, 3]
    monkeypatch.setattr(gallery, "MOST_PIXELS", 1)
    kept.add("tiny", trace)
    assert [one.id for one in kept.pictures] == [4]


def test_images_are_kept_without_the_steps(shown: ModelManager, page: Comm) -> None:
    job = shown.submit(Request("tiny", Settings("a cat", **SIZE)))
    record = weakref.ref(job.result(LIMIT))
    page.wait("images", lambda data: data["images"])
    page.wait("jobs", ended(job.id))
    (picture,) = side._side._gallery.pictures
    assert picture.record.steps == () and picture.record.model_ref is None
    del job
    # The worker's frames have let go of the job, too, once it has taken another.
    shown.warm_up("tiny").wait(LIMIT)
    assert record() is None


def test_a_thumbnail_is_small(shown: ModelManager) -> None:
    kept = gallery.Gallery()
    trace = shown.submit(Request("tiny", Settings("a cat", **SIZE))).result(LIMIT)
    kept.add("tiny", replace(trace, images=(Image.new("RGB", (1024, 512)),)))
    (picture,) = kept.pictures
    assert Image.open(io.BytesIO(picture.thumbnail)).size == (160, 80)


# ------------------------------------------------------------------------------------- models


def model_in(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next((one for one in data["models"] if one["name"] == name), {"state": None})


def test_models_are_listed_loaded_and_unloaded(shown: ModelManager, page: Comm) -> None:
    assert not any(data["kind"] == "models" for data, _ in page.heard)  # before it asks
    page.say("models", folders=[])
    data, _ = page.wait("models", lambda data: data["done"])
    emoji = model_in(data, "emoji")
    assert set(emoji) == set(contract.SIDE_MODEL)
    assert (emoji["place"], emoji["state"], emoji["why"]) == ("bundled", "found", "")
    page.say("load", name="emoji")
    page.wait("models", lambda data: model_in(data, "emoji")["state"] == "loaded")
    assert shown.loaded() == ["emoji"]
    page.forget()
    page.say("load", name="emoji")  # changes nothing
    page.say("unload", name="emoji")
    page.wait("models", lambda data: model_in(data, "emoji")["state"] == "found")
    assert shown.loaded() == [] and shown.jobs() == []


def test_a_model_that_is_only_in_memory_is_listed(
    shown: ModelManager, page: Comm, model: Any
) -> None:
    shown.add(model, "mine")
    page.say("models", folders=[])
    data, _ = page.wait("models", lambda data: data["done"])
    mine = model_in(data, "mine")
    assert (mine["place"], mine["state"], mine["title"]) == ("memory", "loaded", "mine")
    page.say("unload", name="mine")
    page.wait("models", lambda data: data["done"] and not model_in(data, "mine")["state"])


def test_a_model_that_cannot_be_loaded_says_why(
    comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **_: Any) -> Any:
        raise sdwidgets.OutOfMemory("It does not fit.")

    monkeypatch.setattr(side, "ModelManager", lambda: ModelManager(load=fail))
    sdwidgets.connect()
    page = comms.page()
    page.say("models", folders=[])
    page.say("load", name="emoji")
    data, _ = page.wait("models", lambda data: model_in(data, "emoji").get("why"))
    assert model_in(data, "emoji")["why"] == "It does not fit."
    assert model_in(data, "emoji")["state"] == "found"


def test_folders_that_are_too_many_are_refused(page: Comm) -> None:
    page.say("models", folders=["/a"] * (contract.SIDE_LIMITS["folders"] + 1))
    assert page.wait("refused")[0]["about"] == "models"


def test_a_model_loaded_by_another_spelling_is_the_same(tmp_path: Any) -> None:
    path = (tmp_path / "cat.safetensors").resolve()
    listed = listing.Listed(str(path), "cat.safetensors", "folder", path, state="found")
    other = str(path.parent / "sub" / ".." / path.name)
    (path.parent / "sub").mkdir()
    (entry,) = side_wire.model_entries([listed], [other], [], {})
    assert entry["state"] == "loaded"


# ------------------------------------------------------------------------------------- memory


def test_memory_is_told_while_it_is_watched(page: Comm) -> None:
    assert not any(data["kind"] == "memory" for data, _ in page.heard)
    page.say("watch", visible=True)
    data, _ = page.wait("memory")
    assert set(data) == {"kind", *contract.SIDE_SAYS["memory"]}
    assert data["device"] == "cpu" and (data["total"] or 2) > (data["free"] or 1)
    page.say("watch", visible=False)
    page.forget()
    page.say("hello")
    page.wait("welcome")
    (one,) = side._side._pages
    assert "memory" not in side._side._wanted(one)
