"""How widgets begin and end: every kind of widget of the kit, and what holds it."""

from __future__ import annotations

import copy
import gc
import importlib
import os
import pickle
import pkgutil
import random
import signal
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy
import pytest
from ipywidgets import embed
from random_values import anything
from small_autoencoders import KL, build, noise

import sdwidgets.widgets
from sdwidgets.errors import Busy, InputError
from sdwidgets.widgets import (
    Attention,
    Boxes,
    Branches,
    Compare,
    Denoising,
    Lab,
    LabelMap,
    Painter,
    PictureView,
    Studio,
    Sweep,
    Tokens,
    TrainingView,
    Viewer,
    Walk,
    kernel,
    life,
    link,
)

if TYPE_CHECKING:
    from sdwidgets.manager import ModelManager
    from sdwidgets.pipeline import LatentDiffusion

WAIT = 60
VIEW = "application/vnd.jupyter.widget-view+json"
KINDS = (
    "Studio", "PictureView", "Viewer", "Attention", "Denoising", "Tokens", "Compare", "Lab",
    "TrainingView", "Painter", "Boxes", "LabelMap", "Sweep", "Branches", "Walk",
)  # fmt: skip
OLD = ipywidgets.__version__.startswith("7.")

Make = Callable[[str], Any]


@dataclass
class Step:
    index: int = 0
    total: int = 1
    loss: float = 1.0
    lr: float = 0.1
    seconds: float = 0.1
    metrics: dict[str, float] = field(default_factory=dict)


@pytest.fixture
def make(model: LatentDiffusion, manager: ModelManager) -> Iterator[Make]:
    """Makes a widget of each kind, with a run, a training or an image that it shows."""
    made: list[weakref.ref[Any]] = []
    size = {"width": 16, "height": 16, "steps": 2, "seed": 1}

    def trace() -> Any:
        return model.generate("a cat", attention=True, **size)

    def studio() -> Studio:
        studio = Studio(manager=manager, model="tiny", prompt="a cat", inside=True, **size)
        studio.generate()
        studio.wait(WAIT)
        return studio

    def lab() -> Lab:
        lab = Lab(noise(32, 32), autoencoders={"kl": build(KL)}, model=model)
        lab.wait(WAIT)
        return lab

    def training() -> TrainingView:
        view = TrainingView()
        view.start([Step()], pictures=lambda: [noise(8, 8)]).wait(WAIT)
        return view

    def sweep() -> Sweep:
        made = Sweep("tiny", prompt="a cat", manager=manager, **(size | {"seed": range(2)}))
        made.wait(WAIT)
        return made

    def walk() -> Walk:
        walk = Walk("tiny", [1, 2], frames=2, steps=1, manager=manager)
        walk.wait(WAIT)
        return walk

    makers: dict[str, Callable[[], Any]] = {
        "Studio": studio,
        "PictureView": lambda: PictureView().show(trace()),
        "Viewer": lambda: Viewer(trace()),
        "Attention": lambda: Attention(trace()),
        "Denoising": lambda: Denoising(trace()),
        "Tokens": lambda: Tokens(trace()),
        "Compare": lambda: Compare(trace(), trace()),
        "Lab": lab,
        "TrainingView": training,
        "Painter": lambda: Painter(noise(32, 32)),
        "Boxes": lambda: Boxes([("cat", (0.1, 0.2, 0.5, 0.9))], classes=["cat", "dog"]),
        "LabelMap": lambda: LabelMap(classes=["blue", "cat"], size=(16, 16)),
        "Sweep": sweep,
        "Branches": lambda: Branches(trace().branch(1, guidance_scale=1.0), manager=manager),
        "Walk": walk,
    }

    def make(kind: str) -> Any:
        widget = makers[kind]()
        made.append(weakref.ref(widget))
        return widget

    yield make
    for ref in made:
        widget = ref()
        if widget is not None:
            widget.close()


def exported(*views: Any) -> dict[str, Any]:
    """Export the state of all widgets, as saving a notebook does, and of these for a page."""
    state = ipywidgets.Widget.get_manager_state()["state"]
    names = set(state)
    mentioned = set(_mentioned(list(state.values())))
    assert mentioned <= names  # else whatever mentions it cannot be shown again
    embed.embed_data(views=list(views), state=embed.dependency_state(list(views)))
    return state


def _mentioned(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("IPY_MODEL_"):
        yield value.removeprefix("IPY_MODEL_")
    elif isinstance(value, dict):
        yield from _mentioned(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _mentioned(one)


def test_every_widget_of_the_kit_lives_like_this() -> None:
    for module in pkgutil.iter_modules(sdwidgets.widgets.__path__):
        importlib.import_module(f"sdwidgets.widgets.{module.name}")
    waiting, ours = [ipywidgets.DOMWidget], []
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("sdwidgets") and kind is not life.Living:
            ours.append(kind)
    assert len(ours) >= len(KINDS)
    assert [kind for kind in ours if not issubclass(kind, life.Living)] == []
    for kind in ours:
        if not kind._is_part:
            assert kind._instead, kind
        for name in ("close", "__reduce_ex__", "__copy__", "__deepcopy__", "_repr_mimebundle_"):
            where = next(base for base in kind.__mro__ if name in vars(base))
            assert where is life.Living or (kind, name) == (TrainingView, "close")


# ------------------------------------------------------------------------------ leaving others


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_widget_leaves_its_box_and_all_can_be_saved(make: Make, kind: str) -> None:
    closed, label = make(kind), ipywidgets.Label("stays")
    inner = ipywidgets.HBox([label, closed])
    outer = ipywidgets.VBox([inner, closed])
    closed.close()
    assert inner.children == (label,)
    assert outer.children == (inner,)
    exported(outer)


def test_an_inner_part_of_a_studio_leaves_a_box_of_ones_own(make: Make) -> None:
    studio = make("Studio")
    box = ipywidgets.HBox([studio.controls.generate, studio.view])
    studio.close()
    assert box.children == ()
    exported(box)


@pytest.mark.parametrize(
    ("selected", "left", "now"), [(0, 1, 0), (1, 1, 1), (2, 1, 1), (2, 0, 1), (2, 2, 1)]
)
@pytest.mark.parametrize("container", [ipywidgets.Tab, ipywidgets.Accordion])
def test_tabs_lose_the_page_with_its_title(
    container: Any, selected: int, left: int, now: int
) -> None:
    pages = [PictureView() for _ in range(3)]
    tabs = container(children=pages)
    for number, title in enumerate(("first", "second", "third")):
        tabs.set_title(number, title)
    tabs.selected_index = selected
    pages[left].close()
    titles = ["first", "second", "third"]
    del titles[left]
    assert [tabs.get_title(i) for i in range(2)] == titles
    assert tabs.selected_index == now
    exported(tabs)
    for page in pages:
        page.close()
    assert (tabs.children, tabs.selected_index) == ((), None)
    exported(tabs)


def test_layouts_lose_it_also_for_later_changes() -> None:
    views = [PictureView() for _ in range(4)]
    app = ipywidgets.AppLayout(header=views[0], center=views[1])
    grid = ipywidgets.GridspecLayout(1, 2)
    grid[0, 0], grid[0, 1] = views[2], views[3]
    views[0].close()
    views[2].close()
    assert app.header is None
    assert app.children == (views[1],)
    grid[0, 0] = button = ipywidgets.Button()
    assert set(grid.children) == {views[3], button}
    exported(app, grid)
    views[1].close()
    views[3].close()


@pytest.mark.parametrize("which", [0, 1])
def test_closing_a_linked_viewer_ends_the_link(which: int) -> None:
    pair = Viewer(), Viewer()
    links = link(*pair)
    links.append(ipywidgets.jsdlink((pair[0], "step"), (pair[1], "step")))
    pair[which].close()
    assert all(one.comm is None for one in links)
    exported(pair[1 - which])
    pair[1 - which].close()


def test_it_is_closed_even_if_what_holds_it_refuses() -> None:
    view = PictureView()
    box = ipywidgets.VBox([view])

    def refuse(_: Any) -> None:
        raise ValueError("observers may do anything")

    box.observe(refuse, "children")
    view.close()
    assert view.comm is None
    exported(box)


def test_a_box_that_takes_a_closed_one_back_does_not_spoil_saving() -> None:
    view, box = PictureView(), ipywidgets.VBox()
    view.close()
    box.children = [view]
    ipywidgets.Widget.get_manager_state()
    box.close()


@pytest.mark.parametrize("kind", KINDS)
def test_closing_twice_and_closing_all(make: Make, kind: str) -> None:
    widget = make(kind)
    before = len(life.opened())
    widget.close()
    after = len(life.opened())
    assert after < before
    widget.close()
    assert len(life.opened()) == after
    make(kind)
    ipywidgets.Widget.close_all()
    assert life.opened() == []


# ------------------------------------------------------------------------------ being freed


@pytest.mark.parametrize("kind", KINDS)
def test_closed_and_dropped_it_is_gone_with_what_it_showed(make: Make, kind: str) -> None:
    widget = make(kind)
    gone = [weakref.ref(widget)]
    for name in ("trace", "traces", "results", "view", "picture"):
        value = getattr(widget, name, None)
        values = value if isinstance(value, tuple) else (value,)
        gone += [weakref.ref(one) for one in values if hasattr(type(one), "__weakref__")]
    widget.close()
    del widget, value, values
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_run_many_times_leaves_one_widget(
    make: Make, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    executions = [0]
    monkeypatch.setattr(kernel, "_made", {})
    monkeypatch.setattr(kernel, "current_cell", lambda: kernel.Cell("cell", str(executions)))
    first = make(kind)
    counts = [len(life.opened())]
    refs = [weakref.ref(first)]
    box = ipywidgets.VBox([first])  # in another cell
    box_counts = len(life.opened()) - counts[0]
    del first
    for _ in range(3):
        executions[0] += 1
        widget = make(kind)
        refs.append(weakref.ref(widget))
        counts.append(len(life.opened()) - box_counts)
        exported(box)
    gc.collect()
    assert len(set(counts)) == 1
    assert [ref() for ref in refs] == [None] * 3 + [widget]
    assert box.children == ()
    box.close()


def test_a_cell_run_many_times_leaves_one_also_in_ipythons_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    executions = [0]
    monkeypatch.setattr(kernel, "_made", {})
    monkeypatch.setattr(kernel, "current_cell", lambda: kernel.Cell("cell", str(executions)))
    monkeypatch.setattr(kernel, "_shell", lambda: shell)
    shell.user_ns["PictureView"] = PictureView
    for executions[0] in range(10):
        shell.run_cell("view = PictureView()\nmine = view if _i == '' else mine\nview", True)
    gc.collect()
    living = [one for one in gc.get_objects() if isinstance(one, PictureView)]
    assert shell.user_ns["view"] in living
    assert shell.user_ns["Out"] == {10: shell.user_ns["view"]}
    assert [one for one in living if one.comm is None] == [shell.user_ns["mine"]]
    shell.user_ns["view"].close()


# ------------------------------------------------------------------------------ as output


@pytest.mark.parametrize("kind", KINDS)
def test_it_appears_with_text_and_an_image_also_when_it_is_closed(make: Make, kind: str) -> None:
    widget = make(kind)
    data, _ = widget._repr_mimebundle_()
    assert data["text/plain"].startswith(kind)
    assert ("image/png" in data) == (kind != "Tokens")  # which are text
    assert data[VIEW]["model_id"] == widget.model_id
    widget.close()
    later, _ = widget._repr_mimebundle_()
    assert VIEW not in later
    assert later == {name: value for name, value in data.items() if name != VIEW}


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_page_its_output_follows_it(
    make: Make, kind: str, manager: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs: dict[str, Any] = {}
    monkeypatch.setattr(kernel, "without_page", lambda: True)
    for how in ("display", "update_display"):
        monkeypatch.setattr(kernel, how, lambda data, _, name: outputs.update({name: data}))
    widget = make(kind)
    widget._ipython_display_()
    before = outputs[widget.model_id]
    if kind == "Studio":
        widget.seed = 9
        widget.generate()
        widget.wait(WAIT)
    elif kind == "Compare":
        widget.show(*widget.traces[::-1], *widget.traces)
    elif kind == "Lab":
        widget.show(noise(32, 32, seed=3))
        widget.wait(WAIT)
    elif kind == "Walk":
        outputs.clear()
        widget.set_trait("state", "stopped")
        widget.start()
        widget.wait(WAIT)
        before = {}  # the same frames
    elif kind == "Painter":
        widget.show(noise(32, 32, seed=3))
    elif kind == "Boxes":
        widget.boxes = [("dog", (0.1, 0.2, 0.5, 0.9))]
    elif kind == "LabelMap":
        widget.map = numpy.eye(16)
    elif kind == "Sweep":
        outputs.clear()
        before = {}
        widget = Sweep("tiny", manager=manager, width=16, height=16, steps=1, seed=range(3))
        widget._ipython_display_()  # which starts it
        widget.wait(WAIT)
        widget.close()
    elif kind == "TrainingView":
        widget.start([Step(), Step(1, 2)], pictures=lambda: [noise(8, 8, seed=3)]).wait(WAIT)
    else:
        widget.show(make("Viewer").trace)
        before = {}  # the same run
    assert outputs.keys() == {widget.model_id}
    if kind != "Tokens":  # which are text
        assert outputs[widget.model_id]["image/png"] != before.get("image/png")


# ------------------------------------------------------------------------------ copies


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_copied_and_says_what_can(make: Make, kind: str, how: Any) -> None:
    with pytest.raises(InputError, match=kind) as caught:
        how(make(kind))
    message = str(caught.value)
    assert "cannot be copied or pickled" in message
    assert len(message.splitlines()) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_in_a_forked_process_work_is_refused(make: Make) -> None:
    widgets = [make(kind) for kind in KINDS]
    trace = widgets[KINDS.index("Viewer")].trace

    def tried() -> Iterator[str]:
        for widget in widgets:
            for call in (
                lambda it: it.generate(),
                lambda it: it.start([Step()]),
                lambda it: next(it.watch([Step()])),
                lambda it: it.show(*[trace] * (2 if isinstance(it, Compare) else 1)),
                lambda it: it.show(noise(8, 8)),
                lambda it: it.undo(),
                lambda it: it.wait(1),
            ):
                try:
                    call(widget)
                except Busy as error:
                    yield f"{type(widget).__name__}: {len(str(error).splitlines())} lines"
                except (
                    AttributeError,
                    InputError,
                    TypeError,
                ):  # or it takes others
                    pass
            widget.close()
            yield f"{type(widget).__name__}: {'closed' if widget.comm is None else 'left alone'}"

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(WAIT)  # ends it if anything waits for ever
        try:
            os.write(writer, "\n".join(tried()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        said = answers.read().splitlines()
    os.waitpid(child, 0)
    for kind in KINDS:
        assert f"{kind}: 2 lines" in said
        assert f"{kind}: left alone" in said
    assert all(widget.comm is not None for widget in widgets)


# ------------------------------------------------------------------------------ messages


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_malformed_messages_change_nothing(
    make: Make, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    widget = make(kind)
    parts = [one for one in (widget, *widget._parts) if isinstance(one, life.Living)]
    before = [one.get_state() for one in parts]
    rng = random.Random(0)
    methods = ("update", "custom", "request_state", "", None, 3)
    for number in range(10_000):
        method = rng.choice(methods)
        data = rng.choice((
            {"method": method, "state": _state(rng, parts[0]), "buffer_paths": anything(rng)},
            {"method": method, "state": anything(rng)},
            {"method": method, "content": {"kind": anything(rng), "id": anything(rng)}},
            {"method": method, "content": anything(rng)},
            anything(rng),
        ))  # fmt: skip
        message = {"content": {"data": data}, "buffers": [b"x"] * rng.randrange(3)}
        parts[number % len(parts)]._handle_msg(rng.choice((message, message, message, {}, None)))
    assert [one.get_state() for one in parts] == before
    assert caplog.text.count("\n") < 100


def _state(rng: random.Random, widget: Any) -> dict[str, Any]:
    """Odd values for some of its traits, of a type that no trait takes."""
    names = rng.sample([*widget.keys], 2)
    return {name: rng.choice(({"odd": 1}, [[object()]], -(2.0**80))) for name in names}


def test_an_error_in_a_handler_is_shown_in_the_widget(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio, lab, training = make("Studio"), make("Lab"), make("TrainingView")

    def fail(*_: Any) -> None:
        raise ValueError("an observer of one's own")

    studio.observe(fail, "seed")
    studio.controls.dice.click()
    assert "an observer" in studio.view.message
    studio.unobserve(fail, "seed")
    studio.view.message = ""
    studio.seed = 2
    studio.observe(fail, "seed")
    studio.history._handle_custom_msg({"kind": "recall", "id": studio.view.current}, [])
    assert "an observer" in studio.view.message
    with monkeypatch.context() as patch:
        patch.setattr(training, "stop", fail)
        training._handle_custom_msg({"kind": "stop"}, [])
    assert "an observer" in training.run["message"]
    lab.observe(fail, "picture")
    lab._handle_custom_msg({"kind": "sample", "name": lab.samples[0]["name"]}, [])
    assert "an observer" in lab.message
