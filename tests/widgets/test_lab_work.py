"""What the lab computes, and when, without widgets and Jupyter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from small_autoencoders import KL, VQ, build, noise

from sdwidgets.errors import InputError
from sdwidgets.lab import Flip
from sdwidgets.lab.original import Original
from sdwidgets.lab.workbench import Workbench
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.widgets.lab_work import LabWork, Subject, notices


class Page:
    """The current subject, and everything that was shown, in order."""

    def __init__(self, model: Any = None, **autoencoders: Autoencoder):
        self.subject = Subject(None, None, list(autoencoders), [*autoencoders, ""][0], "latents")
        self.told: list[dict[str, Any]] = []
        workbench = Workbench(model)
        for name, autoencoder in autoencoders.items():
            workbench.put(name, autoencoder)
        self.work = LabWork(workbench, lambda: self.subject, lambda **values: self._show(values))

    def _show(self, values: dict[str, Any]) -> None:
        self.told.append(values)

    def look_at(self, change: Callable[[], None], **subject: Any) -> None:
        """Change the subject, announce it, and wait until all work is done."""
        with self.work.lock:
            self.subject = self.subject._replace(**subject)
            change()
        assert self.work.idle.wait(60)

    def shown(self, name: str) -> Any:
        """Return the newest value of that name; None if there is none."""
        return next((one[name] for one in reversed(self.told) if name in one), None)

    def kinds(self) -> list[str]:
        """Return the names of the results shown, in order."""
        return [
            name
            for one in self.told
            for name, value in one.items()
            if name not in ("state", "message") and value
        ]


def original(seed: int = 0, *said: str) -> Original:
    return Original(f"noise {seed}", noise(32, 32, seed=seed), said)


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page(kl=build(KL), vq=build(VQ))
    yield page
    page.work.close()


def test_without_an_image_nothing_is_computed(page: Page) -> None:
    page.look_at(page.work.new_choice, chosen=["vq"])
    page.look_at(page.work.new_active, active="vq")
    page.look_at(page.work.new_panel, panel="noise")
    assert page.kinds() == []
    for ask in (lambda: page.work.edit(lambda history: history), lambda: _reach(page)):
        with pytest.raises(InputError, match="no image"):
            ask()


def _reach(page: Page) -> None:
    page.work.reach("cell", 0, 0)


def test_an_image_brings_results_latents_and_the_edited_image_in_this_order(page: Page) -> None:
    page.look_at(page.work.new_picture, picture=original())
    kinds = page.kinds()
    assert sorted(set(kinds), key=kinds.index) == ["results", "latents", "edited"]
    assert [one.name for one in page.shown("results")] == ["kl", "vq"]
    assert page.shown("latents").name == page.shown("edited").name == "kl"
    assert next(one["state"] for one in page.told if "state" in one) == "working"
    assert page.shown("state") == "idle"


def test_another_active_one_is_looked_into_and_results_stay(page: Page) -> None:
    page.look_at(page.work.new_picture, picture=original())
    page.told.clear()
    page.look_at(page.work.new_active, active="vq")
    assert page.kinds() == ["latents", "edited"]
    assert page.shown("latents").name == "vq"


def test_a_panel_is_computed_once_and_only_while_it_is_open(page: Page) -> None:
    page.look_at(page.work.new_picture, picture=original(), second=original(1))
    assert page.shown("between") is None
    page.look_at(page.work.new_panel, panel="between")
    assert page.shown("between").name == "kl"
    page.told.clear()
    page.look_at(page.work.new_panel, panel="latents")
    page.look_at(page.work.new_panel, panel="between")
    assert page.kinds() == []
    page.look_at(page.work.new_second, second=original(2))
    assert page.kinds() == ["between"]


def test_a_new_image_forgets_edits_and_what_was_reached(page: Page) -> None:
    page.look_at(page.work.new_picture, picture=original())
    page.look_at(lambda: page.work.edit(lambda history: history.add(Flip("x"))))
    page.look_at(lambda: _reach(page))
    assert page.shown("edited").edits and page.shown("touch") is not None
    page.look_at(page.work.new_picture, picture=original(1))
    assert page.shown("edited").edits == () and page.shown("touch") is None


def test_an_autoencoder_that_is_replaced_gives_new_results(page: Page) -> None:
    page.look_at(page.work.new_picture, picture=original())
    before = page.shown("results")[0]
    page.work.put("kl", build(VQ))
    page.look_at(page.work.refresh)
    assert page.shown("results")[0].bits != before.bits
    assert page.shown("latents").codes is not None


def test_an_error_stays_until_something_new_is_asked_for(page: Page) -> None:
    page.look_at(page.work.new_picture, picture=original())
    page.work.fail(InputError("Wrong."))
    assert (page.shown("state"), page.shown("message")) == ("error", "Wrong.")
    page.look_at(lambda: _reach(page))  # a moved pointer asks for nothing new
    assert page.work.error is not None and page.shown("state") == "error"
    page.look_at(page.work.new_choice)
    assert page.work.error is None and page.shown("state") == "idle"


def test_other_work_is_done_in_turn_and_said(page: Page) -> None:
    threads: list[threading.Thread] = []
    page.look_at(lambda: page.work.do("send", lambda: threads.append(_here()), said="Sent."))
    assert page.shown("message") == "Sent."
    assert threads[0] is not _here()
    page.look_at(page.work.new_picture, picture=original(0, "Resized."))
    assert page.shown("message") == "Resized."


def _here() -> threading.Thread:
    return threading.current_thread()


def test_what_shows_results_knows_that_it_is_on_the_works_thread(page: Page) -> None:
    here: list[bool] = []
    page.look_at(lambda: page.work.do("ask", lambda: here.append(page.work.is_here)))
    assert here == [True] and not page.work.is_here


def test_after_the_close_nothing_is_computed(page: Page) -> None:
    page.work.close()
    page.look_at(page.work.new_picture, picture=original())
    assert page.kinds() == []


def test_notices_are_three_at_most_and_each_is_said_once() -> None:
    one, two = original(0, "a", "b"), original(1, "b", "c", "d")
    assert notices(one, [two]) == ["a", "b", "c"]
    assert notices(None, []) == []
