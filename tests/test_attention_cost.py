"""The benchmark of recording: how it counts seconds and bytes, and how it runs without peers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import attention_cost, peers
from benchmarks.attention_cost import Clock, kept_bytes, recorder_on
from sdwidgets import LatentDiffusion
from sdwidgets.models.attention import Attention

# ------------------------------------------------------------------------------------ the bytes


def test_bytes_are_those_of_the_tensors_and_arrays_within() -> None:
    @dataclass
    class Record:
        maps: dict[str, np.ndarray]
        latents: torch.Tensor
        name: str = "seven bytes of text do not count"

    record = Record({"layer": np.zeros(5, np.float16)}, torch.zeros(3))
    assert kept_bytes([record, (None, 1.5)]) == 5 * 2 + 3 * 4


def test_what_two_share_counts_once() -> None:
    class Pair(NamedTuple):
        one: torch.Tensor
        other: torch.Tensor

    shared = torch.zeros(100)
    assert kept_bytes([Pair(shared, shared[:50]), shared.numpy()]) == 400


def test_a_view_keeps_the_whole() -> None:
    assert kept_bytes(torch.zeros(100)[:1]) == 400
    assert kept_bytes(np.zeros(100)[:10].reshape(2, 5)[:1]) == 800
    assert kept_bytes(np.frombuffer(b"1234", np.uint8)[:3]) == 4


# ---------------------------------------------------------------------------------- the seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock on which a second passes at every switch."""
    ticks = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    return Clock()


def test_the_clock_leaves_out_what_it_stands_in(clock: Clock) -> None:
    inner = clock.stands_in(lambda: None)  # switched at 1 and 2
    clock.runs_in(lambda: inner())()  # switched at 0 and 3
    assert clock.seconds == 2


def test_the_clock_runs_again_further_inside(clock: Clock) -> None:
    tap = clock.runs_in(lambda: None)  # switched at 2 and 3
    network = clock.stands_in(lambda: tap())  # switched at 1 and 4
    clock.runs_in(lambda: network())()  # switched at 0 and 5
    assert clock.seconds == 3


def test_the_clock_stops_after_an_exception(clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError):
        clock.runs_in(lambda: 1 / 0)()
    ran = clock.seconds
    clock.stands_in(lambda: None)()
    assert clock.seconds == ran == 1


def test_the_recorder_is_on_the_clock_and_the_network_is_not(
    tiny_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, running = Clock(), []
    layer = next(iter(tiny_model.unet.cross_attentions().values()))
    plain = Attention.probabilities_of

    def probabilities(self: Attention, q: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        if self is layer:
            running.append(clock._since is not None)
        return plain(self, q, context)

    monkeypatch.setattr(Attention, "probabilities_of", probabilities)
    with recorder_on(clock):
        list(tiny_model.sample("a", steps=2, attention=True))
    assert running == [False, False]
    assert clock.seconds > 0


def test_the_clock_leaves_recording_as_it_was(tiny_model: LatentDiffusion) -> None:
    plain = [step.attention for step in tiny_model.sample("a", steps=2, seed=0, attention=True)]
    with recorder_on(Clock()):
        clocked = [s.attention for s in tiny_model.sample("a", steps=2, seed=0, attention=True)]
    for one, other in zip(plain, clocked, strict=True):
        for name in one.cross:
            assert np.array_equal(one.cross[name], other.cross[name])


# ------------------------------------------------------------------------------------ the peers


def test_a_stand_in_is_there_for_what_is_missing_and_only_meanwhile() -> None:
    with peers.stood_in_for(["nowhere", "nowhere.at_all", "numpy"]):
        import nowhere.at_all  # type: ignore[import-not-found]

        assert callable(nowhere.at_all.anything)
        assert sys.modules["numpy"] is np
    assert not {"nowhere", "nowhere.at_all"} & set(sys.modules)


def test_a_peer_that_cannot_be_had_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(peers.Unavailable, match=r"^nowhere==1 could not be fetched: ERROR.*$"):
        peers.load(peers.Peer("nowhere==1", "nowhere"), tmp_path)


def test_a_peer_that_does_not_import_says_so(tmp_path: Path) -> None:
    module = tmp_path / "broken==1" / "broken_peer"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("import nowhere\n")
    with pytest.raises(peers.Unavailable, match=r"broken==1 cannot be imported: ModuleNotFound"):
        peers.load(peers.Peer("broken==1", "broken_peer"), tmp_path)


def test_hooks_must_leave_the_run_and_record_something() -> None:
    expected = torch.ones(4)
    attention_cost.check_peer("it", expected, expected * 1.001, [expected])
    with pytest.raises(peers.Unavailable, match="change the run by 50%"):
        attention_cost.check_peer("it", expected, expected * 1.5, [expected])
    with pytest.raises(peers.Unavailable, match="record nothing"):
        attention_cost.check_peer("it", expected, expected, {})


@pytest.mark.parity
def test_without_peers_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("diffusers")

    def none(peer: peers.Peer) -> None:
        raise peers.Unavailable(f"no {peer.requirement} here")

    monkeypatch.setattr(peers, "load", none)
    arguments = ["--model", "tiny", "--rounds", "1", "--steps", "2", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["", *arguments, "--machine", "it", "--out", str(tmp_path)])
    assert attention_cost.main() == 0  # the tiny network has no targets
    kept = json.loads((tmp_path / "attention_cost_tiny-it.json").read_text())
    numbers = kept["numbers"]["tiny"]
    assert set(numbers["left_out"].values()) == {
        "no daam==0.2.0 here",
        "no attention-map-diffusers==1.0.0 here",
    }
    assert list(numbers["seconds_a_step"]) == [
        "bare", "steps kept", "attention", "everything", "diffusers",
    ]  # fmt: skip
    assert numbers["bytes_a_run"]["bare"] == 0
    assert numbers["bytes_a_run"]["everything"] > numbers["bytes_a_run"]["attention"] > 0
    assert any("recorder's own share" in ratio["what"] for ratio in kept["ratios"])
