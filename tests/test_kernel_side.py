"""A real kernel and the side panel's comm: what a page that follows the kernel gets to hear."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from sdwidgets.contract import SIDE, SIDE_CONNECT

jupyter_client = pytest.importorskip("jupyter_client")
ipykernel = pytest.importorskip("ipykernel")

WAIT = 240  # seconds, never reached
CHECKOUT = str(Path(__file__).parents[1])

SLOW = """
import threading, time
from sdwidgets import Request, Settings
reached, go_on = threading.Event(), threading.Event()

def hold(step):
    reached.set()
    go_on.wait()

manager = sdwidgets.connect()
job = manager.submit(Request("emoji", Settings("a cat", steps=900)), on_step=hold)
reached.wait()
print("ready", flush=True)
"""

# A cell that does not end before the page has stopped its run.
BUSY = """
print("busy", flush=True)
go_on.set()
while not job.wait(0.01):
    pass
print("stopped by then:", job.state == "stopped", flush=True)
"""


class Kernel:
    """A kernel and a client, which does what a page does."""

    def __init__(self, folder: Path) -> None:
        self.manager = jupyter_client.KernelManager()
        self._errors = (folder / "errors").open("w")
        self.manager.start_kernel(cwd=str(folder), stderr=self._errors)
        self.client = self.connected()
        self._heard: dict[str, list[dict[str, Any]]] = {}  # by client, what nobody waited for yet

    def connected(self) -> Any:
        client = self.manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=WAIT)
        return client

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self._errors.close()

    def ask(self, kind: str, **content: Any) -> dict[str, Any]:
        """Send a request and return the content of its reply."""
        message = self.client.session.msg(kind, content)
        control = kind.endswith("subshell_request")
        (self.client.control_channel if control else self.client.shell_channel).send(message)
        get = self.client.get_control_msg if control else self.client.get_shell_msg
        while True:
            reply = get(timeout=WAIT)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return dict(reply["content"])

    def run(self, code: str) -> None:
        """Execute code silently, as the panel does."""
        asked: dict[str, Any] = {"user_expressions": {}, "allow_stdin": False}
        reply = self.ask("execute_request", code=code, silent=True, store_history=False, **asked)
        assert reply["status"] == "ok", reply

    def comms(self) -> list[str]:
        """The comms of the panel's target that a page finds after a reload."""
        return list(self.ask("comm_info_request", target_name=SIDE["target"])["comms"])

    def wait(self, fits: Callable[[dict[str, Any]], object], client: Any = None) -> dict[str, Any]:
        """Return the first message that the kernel publishes and that fits.

        Others are kept: what threads say comes in any order.
        """
        client = client or self.client
        heard = self._heard.setdefault(client.session.session, [])
        for i, message in enumerate(heard):
            if fits(message):
                return heard.pop(i)
        while True:
            try:
                message = dict(client.get_iopub_msg(timeout=WAIT))
            except Empty:
                pytest.fail("The kernel says nothing.")
            if fits(message):
                return message
            heard.append(message)


class Page:
    """A page's comm."""

    def __init__(self, kernel: Kernel, client: Any = None, subshell: str | None = None) -> None:
        self.kernel, self.client, self.subshell = kernel, client or kernel.client, subshell
        self.id = uuid.uuid4().hex
        self._send("comm_open", target_name=SIDE["target"], data={"v": SIDE["v"]})

    def _send(self, message_type: str, **content: Any) -> None:
        message = self.client.session.msg(message_type, {"comm_id": self.id, **content})
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)

    def say(self, kind: str, **fields: Any) -> None:
        self._send("comm_msg", data={"kind": kind, **fields})

    def leave(self) -> None:
        self._send("comm_close", data={})

    def hear(self, kind: str, fits: Callable[[dict[str, Any]], object] = lambda _: True) -> Any:
        def is_that(message: dict[str, Any]) -> bool:
            content = message["content"]
            data = content.get("data", {})
            is_mine = message["msg_type"] == "comm_msg" and content["comm_id"] == self.id
            return bool(is_mine and data.get("kind") == kind and fits(data))

        return self.kernel.wait(is_that, self.client)


def says(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: text in message["content"].get("text", "")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel in which the package can be imported, and has not been."""
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    try:
        kernel.run(f"import sys; sys.path.insert(0, {CHECKOUT!r})")
        yield kernel
    finally:
        kernel.close()


@pytest.mark.slow
def test_a_kernel_tells_pages_of_its_manager(kernel: Kernel) -> None:
    assert kernel.comms() == []  # it never used the package

    kernel.run(SIDE_CONNECT)
    opened = kernel.wait(lambda message: message["msg_type"] == "comm_open")["content"]
    assert opened["target_name"] == SIDE["target"] and opened["data"]["v"] == SIDE["v"]
    assert kernel.comms() == [opened["comm_id"]]  # after a reload, too
    kernel.run("assert 'torch' not in sys.modules")

    # A page that does not know the target closes the comm; others still find it.
    stranger = Page.__new__(Page)
    stranger.client, stranger.subshell, stranger.id = kernel.client, None, opened["comm_id"]
    stranger.leave()
    assert kernel.comms() == [opened["comm_id"]]

    page = Page(kernel)
    assert page.hear("welcome")["content"]["data"]["v"] == SIDE["v"]
    assert page.hear("jobs")["content"]["data"]["jobs"] == []
    page.say("models", folders=[])
    models = page.hear("models", lambda data: data["done"])["content"]["data"]["models"]
    assert [(one["state"], one["why"]) for one in models if one["name"] == "emoji"] == [
        ("found", "")
    ]
    page.say("watch", visible=True)
    page.hear("memory")
    page.say("watch", visible=False)
    kernel.run("assert 'torch' not in sys.modules")

    other_client = kernel.connected()  # another tab
    other = Page(kernel, other_client)
    other.hear("welcome")
    page.leave()
    other.say("load", name="emoji")
    other.hear("jobs", lambda data: data["jobs"] and data["jobs"][-1]["state"] == "done")
    other.leave()
    other_client.stop_channels()
    assert kernel.comms() == [opened["comm_id"]]


@pytest.mark.slow
def test_a_page_is_heard_while_a_cell_runs(kernel: Kernel) -> None:
    if ipykernel.version_info[0] < 7:
        pytest.skip("this ipykernel has no subshells")
    kernel.run(SIDE_CONNECT)
    subshell = kernel.ask("create_subshell_request")["subshell_id"]
    page = Page(kernel, subshell=subshell)
    page.hear("welcome")
    kernel.client.execute(SLOW)
    kernel.wait(says("ready"))
    page.hear("jobs", lambda data: data["jobs"] and data["jobs"][-1]["state"] == "running")
    kernel.client.execute(BUSY)
    kernel.wait(says("busy"))
    page.say("stop")
    assert "True" in kernel.wait(says("stopped by then"))["content"]["text"]
    page.leave()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a kernel is interrupted by a signal elsewhere")
def test_a_page_is_answered_after_the_cell_without_a_subshell(kernel: Kernel) -> None:
    kernel.run(SIDE_CONNECT)
    page = Page(kernel)
    page.hear("welcome")
    kernel.client.execute("import time\nprint('busy', flush=True)\nwhile True: time.sleep(0.01)")
    kernel.wait(says("busy"))
    page.say("hello")
    kernel.manager.interrupt_kernel()
    page.hear("welcome")
    page.leave()
