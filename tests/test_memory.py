"""Free memory, and the errors when there is not enough."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdwidgets import memory, usage
from sdwidgets.errors import OutOfMemory

CPU = torch.device("cpu")


def test_a_machine_has_some_memory() -> None:
    free = memory.available_memory(CPU)
    assert free is None or 2**20 < free < 2**50


def test_what_fits_is_let_through() -> None:
    memory.check_memory(1, CPU, "A model")


def test_what_does_not_fit_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 2_000_000_000)
    with pytest.raises(OutOfMemory, match=r"3\.5 GB of memory on cpu; 2 GB are free"):
        memory.check_memory(3_500_000_000, CPU, "A model")


def test_memory_that_is_not_known_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: None)
    memory.check_memory(2**60, CPU, "A model")


def test_a_container_has_less_than_its_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "inactive_file 100"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert list(usage.container_memory(tmp_path)) == [400]
    (tmp_path / "memory.max").write_text("max\n")
    assert list(usage.container_memory(tmp_path)) == []
    assert list(usage.container_memory(tmp_path / "nowhere")) == []


def test_the_groups_around_a_process_have_limits_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As of a service of systemd, which a JupyterHub makes for each user."""
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/elsewhere\n0::/hub.slice/alice.service\n")
    root = tmp_path / "root"
    alice = root / "hub.slice" / "alice.service"
    alice.mkdir(parents=True)
    assert list(usage.control_groups(root, own)) == [root, alice.parent, alice]
    assert list(usage.control_groups(root, tmp_path / "nowhere")) == [root]
    own.write_text("0::/../beside\n")  # of a namespace around this one
    assert list(usage.control_groups(root, own)) == [root]

    for group, limit in ((alice.parent, 900), (alice, 500)):
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text("200\n")
        (group / "memory.stat").write_text("inactive_file 0")
    monkeypatch.setattr(usage, "control_groups", lambda: [root, alice.parent, alice])
    assert sorted(usage.main_memory())[:2] == [300, 700]
    assert usage.usage().total == 500


def test_a_gpu_is_asked_for_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (123, 456))
    assert memory.available_memory(torch.device("cuda")) == 123
