from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sdwidgets.imports import quick_imports


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leave the garbage collector enabled and nothing frozen after each test."""
    yield
    gc.unfreeze()
    gc.enable()


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_settings_and_configs_do_without_torch() -> None:
    code = "import sys, sdwidgets as sdw; sdw.Settings; import sdwidgets.configs"
    assert run(f"{code}; print('torch' in sys.modules)") == "False\n"


def test_the_collector_rests_during_quick_imports() -> None:
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_works_again_after_a_failed_import() -> None:
    with pytest.raises(ModuleNotFoundError), quick_imports():
        import sdwidgets.no_such_module  # noqa: F401
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with quick_imports():
        pass
    assert not gc.isenabled()


def test_nothing_new_is_left_to_look_through() -> None:
    gc.collect()
    with quick_imports():
        kept = [[i] for i in range(100_000)]
    assert gc.get_count()[0] < len(kept)


def test_nothing_stays_frozen() -> None:
    with quick_imports():
        pass
    assert gc.get_freeze_count() == 0


def test_what_others_have_frozen_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with quick_imports():
        pass
    assert gc.get_freeze_count() > frozen // 2  # other threads free a few; thawed, it would be 0


def test_garbage_from_meanwhile_is_collected_later() -> None:
    class Knot:
        gone = 0

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            Knot.gone += 1

    with quick_imports():
        Knot()
    assert Knot.gone == 0
    gc.collect()
    assert Knot.gone == 1
