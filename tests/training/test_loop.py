"""The training loop on a model with a single matrix."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError, NumericsError
from sdwidgets.training import loop
from sdwidgets.training.checkpoint import averaged
from sdwidgets.training.loop import Plan, train
from sdwidgets.training.muon import orthogonalized, split
from sdwidgets.training.order import _order

HALVES_WELL = loop.halves_well  # conftest.py replaces it
PLAN = Plan(steps=40, batch_size=8, warmup=5, checkpoint_every=10, weight_decay=0.0)


class Line:
    """Learns a linear map from noise; the loss is NaN at step ``spoilt``."""

    def __init__(self, spoilt=None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 3))
        self.target = torch.linspace(-1, 1, 12).view(4, 3)
        self.spoilt = spoilt

    def loss(self, draw):
        x = draw.normal(4)
        loss = (self.model(x) - x @ self.target).square().mean()
        return {"loss": loss * float("nan") if draw.step == self.spoilt else loss}


def test_the_loss_falls():
    steps = list(train(Line(), PLAN))
    assert [step.index for step in steps] == list(range(40))
    assert steps[-1].loss < 0.5 * steps[0].loss


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    rates = [step.lr / PLAN.lr for step in train(Line(), PLAN)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert set(rates[4:24]) == {1.0}
    assert rates[24:] == pytest.approx([1 - i / 16 for i in range(16)])
    assert PLAN.share_at(PLAN.steps) == 0


def test_a_longer_plan_begins_as_the_shorter_one_does():
    longer = replace(PLAN, steps=80)
    assert [longer.share_at(step) for step in range(24)] == [PLAN.share_at(s) for s in range(24)]


@pytest.mark.parametrize("stop", [10, 17])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, stop):
    whole, parted = Line(), Line()
    for _ in train(whole, PLAN, tmp_path / "whole.pt"):
        pass
    for step in train(parted, PLAN, tmp_path / "parted.pt"):
        if step.index == stop:
            break
    resumed = Line()
    indices = [step.index for step in train(resumed, PLAN, tmp_path / "parted.pt")]
    assert indices == list(range(stop + 1, 40))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    ours, theirs = averaged(tmp_path / "whole.pt"), averaged(tmp_path / "parted.pt")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_half_precision_trains_single_precision_weights(monkeypatch):
    monkeypatch.setattr(loop, "halves_well", lambda device: True)
    task, seen = Line(), set()
    task.model[0].register_forward_hook(lambda module, given, made: seen.add(made.dtype))
    steps = list(train(task, PLAN))
    assert seen == {torch.bfloat16}
    assert {weight.dtype for weight in task.model.parameters()} == {torch.float32}
    assert steps[-1].loss < 0.5 * steps[0].loss


@pytest.mark.parametrize(("hardware", "kernels"), [(True, True), (True, False), (False, True)])
def test_half_precision_takes_both_hardware_and_kernels_for_it(monkeypatch, hardware, kernels):
    """oneDNN may not use all that a processor has."""
    given = SimpleNamespace(
        device=torch.device,
        cpu=SimpleNamespace(_is_avx512_bf16_supported=lambda: hardware),
        ops=SimpleNamespace(mkldnn=SimpleNamespace(_is_mkldnn_bf16_supported=lambda: kernels)),
    )
    monkeypatch.setattr(loop, "torch", given)
    assert HALVES_WELL(torch.device("cpu")) == (hardware and kernels)
    assert HALVES_WELL(torch.device("cuda"))


def test_the_task_is_told_the_average():
    task = Line()
    for _ in train(task, PLAN):
        assert task.average is not None
    weights = task.model.state_dict()
    assert any(not torch.equal(task.average.weights[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1},
        {"steps": 1.5},
        {"batch_size": 0},
        {"lr": float("nan")},
        {"matrix_lr": -1.0},
        {"ema": 1.5},
        {"checkpoint_every": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"seed": 2**53},
        {"seed": 0.5},
        {"seed": None},
        {"clip": 0},
        {"batch_size": "8"},
        {"warmup": True},
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=name):
        replace(PLAN, **wrong)


@pytest.mark.parametrize("step", [0, 39, 10**12])
def test_every_seed_that_is_taken_draws_its_own_numbers(step):
    """Also those that differ only in high bits."""
    seeds = [0, 1, *(2**bit for bit in range(1, 32)), loop.LARGEST_SEED]
    drawn = {tuple(torch.rand(4, generator=loop.seeded(seed, step)).tolist()) for seed in seeds}
    assert len(drawn) == len(seeds)
    replace(PLAN, seed=loop.LARGEST_SEED)
    orders = {tuple(_order(50, seed, 3)) for seed in seeds}
    assert len(orders) == len(seeds)


# ------------------------------------------------------------------- numbers that are not finite


def finite_at(file, step):
    state = torch.load(file, weights_only=True)
    assert state["step"] == step
    assert all(torch.isfinite(value).all() for value in state["model"].values())


def test_nan_stops_the_run_and_leaves_the_last_checkpoint(tmp_path):
    file, task = tmp_path / "line.pt", Line(spoilt=25)
    with pytest.raises(NumericsError, match="nan at step 25") as caught:
        for _ in train(task, PLAN, file):
            pass
    finite_at(file, 20)
    assert all(torch.isfinite(value).all() for value in task.model.state_dict().values())
    assert len(str(caught.value).splitlines()) == 3


class Root(Line):
    """At step 25 the loss is 0 and its gradient is infinite, like that of a square root."""

    def loss(self, draw):
        loss = super().loss(draw)["loss"]
        return {"loss": (loss * (draw.step != 25)).sqrt()}


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_spoils_the_weights(tmp_path):
    file = tmp_path / "line.pt"
    with pytest.raises(NumericsError, match="loss is 0 at step 25, but its gradients"):
        for _ in train(Root(), replace(PLAN, checkpoint_every=26), file):
            pass
    assert not file.exists()


def test_the_first_term_that_is_not_finite_is_named():
    class Terms(Line):
        def loss(self, draw):
            loss = super().loss(draw)["loss"]
            return {"loss": loss * float("inf"), "a": loss, "b": loss / 0, "c": loss / 0}

    with pytest.raises(NumericsError, match="became inf at step 0, first in 'b'"):
        next(train(Terms(), PLAN))


# ------------------------------------------------------------------------- a full disk


@pytest.fixture
def full(monkeypatch):
    """Make the disk full: writing fails after half of a file."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", full)


@pytest.mark.parametrize(("last", "written"), [(15, 10), (39, 30)])
def test_a_full_disk_leaves_the_old_checkpoint_and_the_weights_in_memory(
    tmp_path, full, last, written
):
    """At an intermediate checkpoint, and at the last."""
    whole, task, file = Line(), Line(), tmp_path / "line.pt"
    steps = train(task, PLAN, file)
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        for step in steps:
            if step.index == last:
                full()
    finite_at(file, written)
    assert [one.name for one in tmp_path.iterdir()] == ["line.pt"]
    assert "The file that was there is untouched" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3
    done = 20 if last == 15 else 40
    for step in train(whole, PLAN):
        if step.index == done - 1:
            break
    for name, value in whole.model.state_dict().items():
        assert torch.equal(task.model.state_dict()[name], value)


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limits on files here")
def test_a_file_that_may_not_grow_is_said_in_words(tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="could not be written"):
            for _ in train(Line(), PLAN, tmp_path / "line.pt"):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, usual)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_said_in_words(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(CheckpointError, match="could not be written"):
        for _ in train(Line(), PLAN, tmp_path / "runs" / "line.pt"):
            pass


# ------------------------------------------------------------------------- interrupts


def same_as_whole(file, plan=PLAN):
    """Resuming from ``file`` ends with the same bits as a run without interruption."""
    whole, resumed = Line(), Line()
    for task, checkpoint in ((whole, None), (resumed, file)):
        for _ in train(task, plan, checkpoint):
            pass
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


def test_an_interrupt_in_the_loops_body_leaves_a_checkpoint(tmp_path):
    file = tmp_path / "line.pt"
    with pytest.raises(KeyboardInterrupt):
        for step in train(Line(), PLAN, file):
            if step.index == 12:
                raise KeyboardInterrupt
    finite_at(file, 13)
    same_as_whole(file)


def test_closing_leaves_a_checkpoint(tmp_path):
    with closing(train(Line(), PLAN, tmp_path / "line.pt")) as steps:
        for _ in range(7):
            next(steps)
    finite_at(tmp_path / "line.pt", 7)


class Interrupted(Line):
    """Press Ctrl-C ``times`` times while step 12 computes."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def loss(self, draw):
        if draw.step == 12:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        return super().loss(draw)


@pytest.mark.parametrize(("times", "reached"), [(1, 13), (2, 12)])
def test_an_interrupt_within_a_step_waits_for_its_end_and_a_second_does_not(
    tmp_path, times, reached
):
    file, usual = tmp_path / "line.pt", signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        for _ in train(Interrupted(times), PLAN, file):
            pass
    assert signal.getsignal(signal.SIGINT) is usual
    finite_at(file, reached)
    same_as_whole(file)


def test_on_another_thread_training_goes_as_on_the_main_one():
    losses = []
    thread = threading.Thread(target=lambda: losses.extend(s.loss for s in train(Line(), PLAN)))
    thread.start()
    thread.join()
    assert losses == [step.loss for step in train(Line(), PLAN)]


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from test_loop import Line, PLAN, replace, train
for step in train(Line(), replace(PLAN, steps=10**9), {file!r}):
    print(step.index, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT there")
@pytest.mark.slow
def test_ctrl_c_in_a_real_process_leaves_a_checkpoint(tmp_path):
    file = tmp_path / "line.pt"
    script = SCRIPT.format(here=str(Path(__file__).parent), file=str(file))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.stdout.readline().strip() != "5":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in told
    state = torch.load(file, weights_only=True)
    assert state["step"] > 5
    assert [one.name for one in tmp_path.iterdir()] == ["line.pt"]
    following = train(Line(), replace(PLAN, steps=10**9), file)
    assert next(following).index == state["step"]


# ------------------------------------------------------------------------- other files


def trained(file, task=None):
    for _ in train(task or Line(), replace(PLAN, steps=2), file):
        pass
    return file


class Wide(Line):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 3))


class Deep(Line):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(*self.model, nn.Linear(3, 3))


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (Wide, r"to another model: 0\.bias is \[16\] there and \[8\] here"),
        (Deep, r"to another model: 3\.bias is missing there and \[3\] here"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_and_nothing_loaded(tmp_path, task, says):
    file, other = trained(tmp_path / "line.pt"), task()
    before = {name: value.clone() for name, value in other.model.state_dict().items()}
    with pytest.raises(CheckpointError, match=says):
        next(train(other, PLAN, file))
    assert all(torch.equal(v, before[k]) for k, v in other.model.state_dict().items())


def test_a_checkpoint_that_has_more_is_refused(tmp_path):
    file = trained(tmp_path / "deep.pt", Deep())
    with pytest.raises(CheckpointError, match=r"3\.bias is \[3\] there and missing here"):
        next(train(Line(), PLAN, file))


def test_other_optimisers_are_refused(tmp_path):
    file = trained(tmp_path / "line.pt")
    state = torch.load(file, weights_only=True)
    state["optimizers"][1]["param_groups"].pop()
    torch.save(state, file)
    with pytest.raises(CheckpointError, match="other optimisers"):
        next(train(Line(), PLAN, file))


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("was_run",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint",
        pickle.dumps(Evil()),
        pickle.dumps({"model": 1}),
        "cut",
        {"model": {}, "ema": {}},
        {"model": {"0.bias": 3}, "ema": {}, "step": 2},
        {"model": {}, "ema": {}, "step": -1},
        [1, 2],
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_and_kept(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "line.pt"
    if content == "cut":
        trained(file)
        file.write_bytes(file.read_bytes()[:-200])
    elif isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    before = file.read_bytes()
    with pytest.raises(CheckpointError) as caught:
        next(train(Line(), PLAN, file))
    assert len(str(caught.value).splitlines()) <= 3
    assert file.read_bytes() == before
    assert not (tmp_path / "was_run").exists()


def test_averaged_weights_of_no_file_are_not_found(tmp_path):
    with pytest.raises(CheckpointNotFound, match="no checkpoint"):
        averaged(tmp_path / "line.pt")


def test_no_half_written_checkpoint_is_left(tmp_path):
    for _ in train(Line(), PLAN, tmp_path / "line.pt"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["line.pt"]


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (8, 8), (3, 6, 9)])
def test_an_orthogonalised_matrix_has_singular_values_near_one(shape):
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape)))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_matrices_of_one_shape_go_together_as_they_go_alone():
    torch.manual_seed(1)
    matrices = torch.randn(3, 6, 9)
    together = orthogonalized(matrices)
    for alone, one in zip(matrices, together, strict=True):
        assert torch.allclose(orthogonalized(alone), one, atol=1e-5)


def test_muon_takes_hidden_matrices_and_no_others():
    model = nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(3, 4, 3),
            "middle": nn.Conv2d(4, 4, 3),
            "conv_out": nn.Conv2d(4, 3, 3),
        }
    )
    matrices, others, _ = split(model)
    assert [id(m) for m in matrices] == [id(model["middle"].weight)]
    assert len(others) == 5
