"""The number of threads for a computation, restored afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import sdwidgets as sdw
from sdwidgets import configs, threads
from sdwidgets.lab import workbench
from sdwidgets.lab.history import History
from sdwidgets.lab.original import Original
from sdwidgets.lab.workbench import Workbench
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.unet import UNet
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.threads import free_cores, multiply_adds, threads_for

SMALL, LARGE = 1, 10**9  # positions of the network below: 0 and 4e9 times 4 multiply-adds


@pytest.fixture
def network() -> nn.Module:
    return nn.Linear(4, 4, bias=False)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with six free cores, all of which torch takes by default."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "torchs_own", lambda: {6})
    monkeypatch.setattr(threads, "free_cores", lambda: 6)
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)
    sdw.options.threads = None


def inside(network: nn.Module, positions: int = SMALL) -> int:
    with threads_for(network, positions):
        return torch.get_num_threads()


def elsewhere(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns in a new thread."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_small_network_takes_one_thread_and_a_large_one_all_that_are_free(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (inside(network), inside(network, LARGE)) == (1, 6)
    monkeypatch.setattr(threads, "free_cores", lambda: 2)
    assert inside(network, LARGE) == 2
    monkeypatch.setattr(threads, "free_cores", lambda: 64)
    assert inside(network, LARGE) == 6  # never more than torch takes


def test_the_number_is_back_at_the_end(network: nn.Module) -> None:
    inside(network)
    assert torch.get_num_threads() == 6
    with suppress(ZeroDivisionError), threads_for(network, SMALL):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 6


def test_blocks_within_blocks(network: nn.Module) -> None:
    with threads_for(network, LARGE):
        assert inside(network) == 1
        assert torch.get_num_threads() == 6
    with threads_for(network, SMALL):
        assert inside(network, LARGE) == 1  # the outer block has decided
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 6


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_from_the_environment_stays(
    network: nn.Module, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "6")
    assert inside(network) == 6


def test_a_number_set_in_torch_stays(network: nn.Module) -> None:
    torch.set_num_threads(5)
    assert (inside(network), inside(network, LARGE)) == (5, 5)
    assert torch.get_num_threads() == 5


def test_the_option_wins(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    sdw.options.threads = 3
    assert (inside(network), inside(network, LARGE)) == (3, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    torch.set_num_threads(5)
    assert inside(network) == 3
    assert torch.get_num_threads() == 5
    sdw.options.threads = None
    assert inside(network) == 5


@pytest.mark.parametrize("value", [0, -1, 1025, 2.0, "2", True, [1]])
def test_an_option_that_cannot_be_is_refused(value: Any) -> None:
    sdw.options.threads = 2
    with pytest.raises(sdw.InputError, match="threads must be a whole number from 1 to 1024"):
        sdw.options.threads = value
    assert sdw.options.threads == 2


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(AttributeError, match="Known: threads"):
        sdw.options.thread = 2  # type: ignore[attr-defined]


def test_the_option_is_there_whatever_was_imported_first() -> None:
    for first in ("sdwidgets.pipeline", "sdwidgets.preferences"):
        code = f"import {first}, sdwidgets as sdw; sdw.options.threads = 2; print(sdw.options)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert done.stdout.decode().strip() == "Options(threads=2)"


def test_other_threads_keep_theirs(network: nn.Module) -> None:
    begun, ready, done = threading.Event(), threading.Event(), threading.Event()
    found: list[int] = []

    def beside() -> None:
        found.append(torch.get_num_threads())
        begun.set()
        ready.wait(10)
        found.append(torch.get_num_threads())
        done.set()

    threading.Thread(target=beside).start()
    assert begun.wait(10)
    with threads_for(network, SMALL):
        ready.set()
        assert done.wait(10)
        assert elsewhere(torch.get_num_threads) == 6  # in a thread that starts meanwhile
        assert elsewhere(lambda: (inside(network), torch.get_num_threads())) == (1, 6)
        assert torch.get_num_threads() == 1
    assert found == [6, 6]


def test_a_network_elsewhere_than_on_the_cpu_changes_nothing(network: nn.Module) -> None:
    assert inside(network.to("meta")) == 6
    assert inside(nn.Identity()) == 6


def test_a_system_without_a_thread_to_give_computes_all_the_same(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise sdw.Busy("no thread")

    monkeypatch.setattr(threads, "start_daemon", refuse)
    assert inside(network) == 1
    assert torch.get_num_threads() == 6


# ------------------------------------------------------------------------------------------ runs


@pytest.fixture
def seen(tiny_model: LatentDiffusion) -> Iterator[list[int]]:
    """The numbers of threads with which the UNet, encoder and decoder compute."""
    found: list[int] = []
    parts = (tiny_model.unet, tiny_model.autoencoder.encoder, tiny_model.autoencoder.decoder)
    hooks = [
        part.register_forward_hook(lambda *_: found.append(torch.get_num_threads()))
        for part in parts
    ]
    yield found
    for hook in hooks:
        hook.remove()


def test_a_run_computes_with_its_own_number_and_shows_none_of_it(
    tiny_model: LatentDiffusion, seen: list[int]
) -> None:
    run = tiny_model.sample("a cat", steps=3, seed=0)
    steps = []
    for step in run:
        assert torch.get_num_threads() == 6
        steps.append(step)
    run.pictures(steps[-1])
    assert torch.get_num_threads() == 6
    assert len(seen) == 4 and set(seen) == {1}


def test_encoding_and_decoding_alone(tiny_model: LatentDiffusion, seen: list[int]) -> None:
    trace = tiny_model.generate("a cat", steps=1, seed=0)
    seen.clear()
    tiny_model.decode(tiny_model.encode(trace.image))
    assert torch.get_num_threads() == 6
    assert seen == [1, 1]


def test_a_run_that_is_closed_or_fails_gives_the_number_back(
    tiny_model: LatentDiffusion, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_model.sample("a cat", steps=3, seed=0)
    next(run)
    run.close()
    assert torch.get_num_threads() == 6

    def fail(*args: Any, **options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tiny_model.unet, "forward", fail)
    with pytest.raises(ZeroDivisionError):
        next(tiny_model.sample("a cat", steps=3, seed=0))
    assert torch.get_num_threads() == 6


def test_the_worker_gives_it_back(tiny_model: LatentDiffusion, seen: list[int]) -> None:
    manager = sdw.ModelManager()
    name = manager.add(tiny_model)
    between: list[int] = []
    job = manager.submit(
        sdw.Request(model=name, settings=sdw.Settings(prompt="a cat", steps=2)),
        on_step=lambda step: between.append(torch.get_num_threads()),
    )
    assert len(job.result().steps) == 2
    manager.close()
    assert between == [6, 6] and set(seen) == {1}


def test_text_encoders(tiny_model: LatentDiffusion) -> None:
    seen: list[int] = []
    model = tiny_model.embedders[0].model
    hook = model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    tiny_model.condition(["a cat"])
    hook.remove()
    assert seen == [1] and torch.get_num_threads() == 6


def test_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, seen = Workbench(), []

    def watch(where: Any, name: str) -> None:
        plain = getattr(where, name)

        def watched(*args: Any, **options: Any) -> Any:
            seen.append(torch.get_num_threads())
            return plain(*args, **options)

        monkeypatch.setattr(where, name, watched)

    watch(Autoencoder, "encode")
    watch(Autoencoder, "decode")
    watch(workbench, "measure")
    watch(workbench, "apply_edits")
    original = Original("red", Image.new("RGB", (48, 40), "red"))
    bench.reconstruction("KL-f8", original)
    bench.edited("KL-f8", original, History())
    assert seen == [1] * 4
    assert torch.get_num_threads() == 6


def test_a_number_set_between_two_steps_stays(tiny_model: LatentDiffusion, seen: list[int]) -> None:
    run = tiny_model.sample("a cat", steps=2, seed=0)
    next(run)
    torch.set_num_threads(4)
    next(run)
    assert seen == [1, 4]
    assert torch.get_num_threads() == 4


def test_images_do_not_depend_on_the_option(tiny_model: LatentDiffusion) -> None:
    found = []
    for number in (1, 3):
        sdw.options.threads = number
        found.append(tiny_model.generate("a cat", steps=2, seed=0).steps[-1].x_next)
    assert abs(found[0] - found[1]).max() < 1e-4


# ------------------------------------------------------------------------------- work and machine


def test_work_is_about_what_convolutions_and_linear_layers_multiply() -> None:
    config = configs.TINY
    unet, autoencoder = UNet(config.unet).eval(), Autoencoder(config.autoencoder).eval()
    done = 0

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal done
        if isinstance(module, nn.Conv2d):
            done += module.weight.numel() * output[:, 0].numel()
        if isinstance(module, nn.Linear):
            done += module.weight.numel() * output[..., 0].numel()

    for module in (*unet.modules(), *autoencoder.modules()):
        module.register_forward_hook(count)
    with torch.no_grad():
        unet(torch.randn(2, 4, 16, 16), torch.tensor([1.0, 1.0]), torch.randn(2, 8, 24))
        assert 0.8 < multiply_adds(unet, 2 * 16 * 16) / done < 1.2
        done = 0
        autoencoder(torch.randn(1, 3, 32, 32))
        assert 0.8 < multiply_adds(autoencoder, 32 * 32) / done < 1.2


def test_the_bundled_models_sizes_are_small_and_stable_diffusions_are_large() -> None:
    with torch.device("meta"):
        emoji, sd1 = UNet(configs.EMOJI.unet), UNet(configs.SD1.unet)
        autoencoder = Autoencoder(configs.EMOJI.autoencoder)
    assert multiply_adds(emoji, 2 * 16 * 16) < threads.SMALL / 4
    assert multiply_adds(autoencoder, 128 * 128) < threads.SMALL
    assert multiply_adds(sd1, 2 * 64 * 64) > 10 * threads.SMALL


def test_this_machine_has_a_free_core() -> None:
    assert 1 <= free_cores() <= (os.cpu_count() or 1)
    assert all(count >= 1 for count in threads.torchs_own())


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "what is this"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._quota(tmp_path) == cores


def test_the_smallest_quota_around_a_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "alice.service"
    inner.mkdir()
    (tmp_path / "cpu.max").write_text("600000 100000\n")
    (inner / "cpu.max").write_text("250000 100000\n")
    monkeypatch.setattr(threads, "_cores", lambda: tuple(range(8)))
    monkeypatch.setattr(threads._OTHERS, "busy", lambda cores: 0)
    monkeypatch.setattr(threads, "control_groups", lambda: [tmp_path, inner])
    assert free_cores() == 3
    (inner / "cpu.max").write_text("max 100000\n")
    assert free_cores() == 6
    (tmp_path / "cpu.max").unlink()
    assert free_cores() == 8


def test_cores_that_others_keep_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat, clock, own = tmp_path / "stat", [100.0], [0.0]
    monkeypatch.setattr(threads.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(threads.time, "process_time", lambda: own[0])
    monkeypatch.setattr(threads.os, "sysconf", lambda name: 100, raising=False)

    def write(*busy: int) -> None:
        lines = [f"cpu{core} {ticks} 0 0 9999 5 0 0 0 0 0" for core, ticks in enumerate(busy)]
        stat.write_text("\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *lines, "intr 5", ""]))

    others = threads._Others(stat)
    write(0, 0, 0)
    assert others.busy((0, 1)) == 0
    clock[0], own[0] = 102.0, 2.0
    write(200, 200, 200)  # both cores worked for two seconds, this process for one core's worth
    assert others.busy((0, 1)) == pytest.approx(1.0)
    clock[0] = 102.1
    write(900, 900, 900)
    assert others.busy((0, 1)) == pytest.approx(1.0)  # too soon to look again
    clock[0] = 104.0
    write(200, 200, 200)
    assert others.busy((0, 1)) == 0
    clock[0] = 106.0
    stat.unlink()
    assert others.busy((0, 1)) == 0


def test_a_thread_that_begins_while_the_number_is_ours_begins_with_torchs_own(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another of our threads asks for torch's number for the first time at the worst moment."""
    found: list[int] = []
    started: list[threading.Thread] = []
    start = threads.start_daemon

    def begins(*given: Any) -> threading.Thread:
        if not started:  # the first time, and now torch's number for new threads is 1
            started.append(threading.Thread(target=lambda: found.append(inside(network, LARGE))))
            started[0].start()
            started[0].join(0.2)  # it waits until the number is set back
        return start(*given)

    monkeypatch.setattr(threads, "start_daemon", begins)
    assert inside(network) == 1
    started[0].join()
    assert found == [6]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_computes_with_one_thread_and_does_not_hang() -> None:
    code = """
import os, torch
from torch import nn
from sdwidgets.threads import threads_for
torch.set_num_threads(2)
x = torch.randn(512, 512)
x @ x  # starts the threads that a child does not have
network = nn.Linear(512, 512)
child = os.fork()
if child == 0:
    with threads_for(network, 512):
        print(torch.get_num_threads(), flush=True)
        x @ x
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(torch.get_num_threads())
"""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "2"], done.stderr
