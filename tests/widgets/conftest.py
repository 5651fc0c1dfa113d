"""A Studio on a tiny random model, whose steps a test can hold back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import ipywidgets
import pytest

if TYPE_CHECKING:
    from wires import Wire

    from sdwidgets.configs import ModelConfig
    from sdwidgets.manager import ModelManager
    from sdwidgets.pipeline import LatentDiffusion
    from sdwidgets.widgets import Studio


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _nobody_has_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that widgets of other tests have not just taken the turn to send."""
    from sdwidgets.widgets import pace

    monkeypatch.setattr(pace.Pace, "_all_sent", -float("inf"))


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The outputs that replace displayed ones, from now on."""
    from sdwidgets.widgets import kernel

    replaced: list[dict[str, Any]] = []
    monkeypatch.setattr(kernel, "display", lambda *_: None)
    monkeypatch.setattr(kernel, "update_display", lambda data, *_: replaced.append(data))
    return replaced


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all widgets."""
    from sdwidgets.widgets import pace, slots

    clock = Clock()
    for module in (pace, slots):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(pace.Pace, "_all_sent", 0.0)
    return clock


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Everything that views of a run send to their pages from now on."""
    from sdwidgets.widgets.reel import ReelView

    if ipywidgets.__version__.startswith("7."):
        pytest.skip("this ipywidgets sends nothing where there is no kernel")
    sent: Wire = []

    def send(self: Any, content: dict[str, Any], buffers: Any = None) -> None:
        sent.append((self, content, list(buffers or ())))

    monkeypatch.setattr(ReelView, "_send", send)
    return sent


@pytest.fixture
def say() -> Callable[[Any, Any], None]:
    """Sends a message to a widget, as its page does."""

    def say(widget: Any, content: Any) -> None:
        widget._handle_custom_msg(content, [])  # called by all versions of ipywidgets

    return say


class Gate:
    """Lets the network through as often as the test says; open unless closed."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)
        self.closed = False

    def allow(self, calls: int) -> None:
        for _ in range(calls):
            self._passes.release()

    def open(self) -> None:
        self.closed = False
        self.allow(10_000)

    def __call__(self, *_: Any) -> None:
        if self.closed:
            self._passes.acquire(timeout=60)


@pytest.fixture(scope="session")
def model(make_model: Callable[[ModelConfig], LatentDiffusion]) -> LatentDiffusion:
    """The tiny random model of all Studios here."""
    from sdwidgets.configs import TINY

    return make_model(TINY)


@pytest.fixture(scope="session")
def manager(model: LatentDiffusion) -> Iterator[ModelManager]:
    """A manager that has that model under every name."""
    from sdwidgets.manager import ModelManager

    with ModelManager(load=lambda name, **_: model) as manager:
        yield manager


@pytest.fixture
def gate(model: LatentDiffusion) -> Iterator[Gate]:
    """A gate in front of each call of the model's network."""
    gate = Gate()
    handle = model.unet.register_forward_pre_hook(gate)
    yield gate
    gate.open()
    handle.remove()


@pytest.fixture
def make_studio(manager: ModelManager, gate: Gate) -> Iterator[Callable[..., Studio]]:
    """Makes Studios of 16 x 16 pixels and four steps; they are closed at the end."""
    from sdwidgets.widgets import Studio

    made: list[Studio] = []

    def make(**settings: Any) -> Studio:
        defaults = {"model": "tiny", "width": 16, "height": 16, "steps": 4, "prompt": "a cat"}
        made.append(Studio(manager=manager, **(defaults | settings)))
        return made[-1]

    yield make
    gate.open()
    for studio in made:
        studio.close()


@pytest.fixture
def studio(make_studio: Callable[..., Studio]) -> Studio:
    return make_studio()
