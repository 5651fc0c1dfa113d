"""Two processes that share every batch train the same as a single process, with a real torchrun."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import shared_training
import torch
from shared_training import NAMES, PLAN, make, run

from sdwidgets.errors import InputError
from sdwidgets.scenes import find_font
from sdwidgets.training import distributed, train
from sdwidgets.training.checkpoint import read_checkpoint

pytest.importorskip("accelerate")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun and gloo on Windows"),
]

ROOT = Path(__file__).parents[2]


def together(*command):
    """Run two processes of torchrun, on the loopback alone; return what they printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = ["--master_addr", "127.0.0.1", "--master_port", str(free.getsockname()[1])]
    quiet = {
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", *place, *command],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder of two processes: a checkpoint per training, and their reports."""
    folder = tmp_path_factory.mktemp("shared")
    together(shared_training.__file__, str(folder))
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same from a single process."""
    folder = tmp_path_factory.mktemp("alone")
    told = {name: run(name, folder / f"{name}.pt") for name in NAMES}
    (folder / "0.json").write_text(json.dumps(told))
    return folder


def told(folder, rank=0):
    return json.loads((folder / f"{rank}.json").read_text())


def losses(steps):
    return [step["loss"] for step in steps]


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_curve_is_that_of_one_process_with_the_whole_batch(shared, alone, name):
    ours, theirs = told(shared)[name], told(alone)[name]
    assert len(ours) == PLAN.steps
    assert losses(ours) == pytest.approx(losses(theirs), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_so_are_all_other_metrics(shared, alone, name):
    for one, other in zip(told(shared)[name], told(alone)[name], strict=True):
        one.pop("psnr", None), other.pop("psnr", None)  # a mean of logarithms differs
        assert one == pytest.approx(other, rel=5e-3, abs=1e-3)


def test_every_process_is_told_the_same(shared):
    assert told(shared, 0) == told(shared, 1)


@pytest.mark.parametrize("part", ["model", "ema"])
@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_of_one_process_with_the_whole_batch(shared, alone, name, part):
    ours, theirs = (read_checkpoint(folder / f"{name}.pt") for folder in (shared, alone))
    assert ours["step"] == theirs["step"] == PLAN.steps
    assert ours[part].keys() == theirs[part].keys()
    for key, value in theirs[part].items():
        # Shifting all keys does not change attention, so its gradient is only rounding.
        close = 1e-2 if key.endswith("to_k.bias") else 1e-3
        assert torch.allclose(ours[part][key].float(), value.float(), close, close), key


def test_where_one_process_is_asked_to_stop_all_do_and_one_goes_on_alone(shared, alone):
    assert read_checkpoint(shared / "stopped.pt")["step"] == 3
    rest = run("KL", shared / "stopped.pt")
    assert losses(rest) == pytest.approx(losses(told(alone)["KL"])[3:], rel=1e-3)


def test_processes_that_would_begin_apart_are_stopped(shared):
    says = told(shared)["apart"]
    assert says.startswith("The processes would begin at different steps: [0, 3].")
    assert len(says.splitlines()) <= 3


@pytest.mark.skipif(find_font() is None, reason="the Noto Color Emoji font is not installed")
def test_the_command_line_takes_torchrun(tmp_path):
    command = ["-m", "sdwidgets.training", "first-stage", "--name", "KL-f16"]
    printed = together(*command, "--steps", "2", "--batch-size", "4", "--runs", str(tmp_path))
    assert printed == ""  # only every fiftieth step prints
    assert read_checkpoint(tmp_path / "first-stages" / "KL-f16.pt")["step"] == 2


def test_a_batch_that_cannot_be_shared_out_evenly_is_said():
    three = SimpleNamespace(process_index=0, num_processes=3)
    with pytest.raises(InputError, match="A batch of 4 cannot be split evenly over 3"):
        next(train(make("KL"), PLAN, accelerator=three))


def test_a_task_that_was_made_on_another_device_is_said():
    other = SimpleNamespace(process_index=1, num_processes=2, device=torch.device("meta"))
    with pytest.raises(InputError, match="The task is on cpu, but this process trains on meta"):
        next(train(make("KL"), PLAN, accelerator=other))


def test_where_accelerate_is_not_installed_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match=r"pip install 'sdwidgets\[train\]'"):
        distributed()
