"""What every test may use: helper modules beside this file, one thread, small fixtures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # references.py, vocabulary.py


@pytest.fixture
def seeded() -> Iterator[None]:
    """The same random weights and inputs in every run of a test."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
