"""Trainings round alike on every machine: in single precision, whatever the processor has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def single_precision() -> Iterator[None]:
    from sdwidgets.training import loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "halves_well", lambda device: False)
        yield
