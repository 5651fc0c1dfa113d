"""What does recording cost? Seconds and bytes per step, against the peers' hooks.

``python -m benchmarks.attention_cost [--model tiny emoji sd1] [--device cuda]``

One process holds each model twice, ours and diffusers' StableDiffusionPipeline, whose networks
share their memory, and repeats the same guided run in turns. Ours drops every step, keeps the
steps, records attention, or records everything. diffusers' runs bare, with DAAM's hooks, and with
both modes of attention-map-diffusers' hooks at every step: by default it keeps queries and keys and
makes maps after the run; "exact" makes them at once. No image is decoded. A peer that cannot be
installed, or no longer runs, is left out, and the output says why.

A step of Stable Diffusion 1's size takes seconds on a CPU, and steps differ by more than recording
costs. There the recorder's own time is measured as well, by a clock that runs whenever the recorder
is at work: its share of the step must meet the target of 1 %, and the ratio of two whole runs is
printed beside it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from . import peers
from .measure import (
    Options,
    Ratio,
    against,
    begin,
    duration,
    interleaved,
    options,
    report,
    synchroniser,
    use_threads,
)
from .models import PROMPT, diffusers_unet, model_folder

MODELS = {"tiny": "tiny network", "emoji": "bundled model", "sd1": "SD1-size network"}
STEPS = {"tiny": 20, "emoji": 20, "sd1": 2}
TWELVE_WORDS = "a b c d e f g h i j k l"  # a made-up vocabulary has a token for each letter

# The contestants: ours, then diffusers' pipeline.
BARE, KEPT, ATTENTION, EVERYTHING = "bare", "steps kept", "attention", "everything"
THEIRS, DAAM, AMD = "diffusers", "DAAM", "attention-map-diffusers"
AMD_EXACT = f"{AMD}, exact"


class Clock:
    """The sum of seconds spent in some functions, without the seconds in others that they call."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: float | None = None  # when it was last started; None: it stands

    def runs_in(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with the clock running."""
        return self._switching(True, function)

    def stands_in(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with the clock stopped."""
        return self._switching(False, function)

    def _switching(self, on: bool, function: Callable[..., Any]) -> Callable[..., Any]:
        def switching(*arguments: Any, **named: Any) -> Any:
            before = self._switch(on)
            try:
                return function(*arguments, **named)
            finally:
                self._switch(before)

        return switching

    def _switch(self, on: bool) -> bool:
        """Start or stop; returns whether it ran."""
        now, before = time.perf_counter(), self._since
        if before is not None:
            self.seconds += now - before
        self._since = now if on else None
        return before is not None


@contextmanager
def recorder_on(clock: Clock) -> Iterator[None]:
    """A context in which the clock runs whenever a recorder is at work."""
    from sdwidgets.trace.attention import AttentionRecorder

    wrap = AttentionRecorder.__call__

    def wrapped(recorder: Any, network: Callable[..., Any]) -> Callable[..., Any]:
        return clock.runs_in(wrap(recorder, clock.stands_in(network)))

    with (
        patch.object(AttentionRecorder, "__call__", wrapped),
        patch.object(AttentionRecorder, "_look", clock.runs_in(AttentionRecorder._look)),
        patch.object(AttentionRecorder, "take", clock.runs_in(AttentionRecorder.take)),
    ):
        yield


def kept_bytes(value: Any) -> int:
    """Bytes of all memory that the tensors and arrays in a value keep, each piece counted once.

    Looks into dataclasses, mappings and sequences. A view keeps all of its base.
    """
    return sum(_pieces(value).values())


def _pieces(value: Any) -> dict[int, int]:
    """Address -> bytes."""
    if hasattr(value, "untyped_storage"):
        storage = value.untyped_storage()
        return {storage.data_ptr(): storage.nbytes()}
    if hasattr(value, "__array_interface__"):
        return _pieces(value.base) or {value.__array_interface__["data"][0]: value.nbytes}
    if is_dataclass(value):
        parts: Any = [getattr(value, each.name) for each in fields(value)]
    elif isinstance(value, Mapping):
        parts = value.values()
    else:
        parts = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()
    found: dict[int, int] = {}
    for part in parts:
        found |= _pieces(part)
    return found


# ----------------------------------------------------------------------------- the contestants


@dataclass
class Contestant:
    """A way of doing the run: ``run()`` returns the final latents and what was kept."""

    run: Callable[[], tuple[Any, Any]]
    steps: int
    sync: Callable[[], object]
    clock: Clock | None = None  # of the recorder; times every run
    own: list[float] = field(default_factory=list)  # seconds a step on the clock, of each run
    bytes_kept: int = 0  # by a run

    def step_seconds(self) -> float:
        """Seconds of one step, from a whole run."""
        before = self.clock.seconds if self.clock else 0.0
        self.sync()
        began = time.perf_counter()
        _, kept = self.run()
        self.sync()
        spent = time.perf_counter() - began
        self.bytes_kept = kept_bytes(kept)
        if self.clock:
            self.own.append((self.clock.seconds - before) / self.steps)
        return spent / self.steps


def our_contestants(
    model: Any, prompt: str, noise: Any, steps: int, sync: Callable[[], object]
) -> dict[str, Contestant]:
    """Our own loop, keeping more and more."""
    from sdwidgets.settings import AttentionSettings

    everything = AttentionSettings(**{each.name: True for each in fields(AttentionSettings)})
    clock = Clock()

    def contestant(keep: bool, attention: Any, clock: Clock | None = None) -> Contestant:
        def run() -> tuple[Any, Any]:
            kept, step = [], None
            with recorder_on(clock) if clock else nullcontext():
                for step in model.sample(
                    prompt, steps=steps, schedule="dpmsolver", latents=noise, attention=attention
                ):
                    if keep:
                        kept.append(step)
            return step.x_next, kept

        return Contestant(run, steps, sync, clock)

    return {
        BARE: contestant(False, False),
        KEPT: contestant(True, False),
        ATTENTION: contestant(True, True, clock),
        EVERYTHING: contestant(True, everything),
    }


def their_pipeline(model: Any, folder: Any, convolutions: bool) -> Any:
    """diffusers' pipeline around the same weights, with their DPM-Solver++(2M) on our grid."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    side = model.config.size // model.config.autoencoder.factor
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder,
        unet=diffusers_unet(model.unet, side, convolutions),
        local_files_only=True,
    )
    pipeline.to(model.device, model.dtype)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="leading", steps_offset=1
    )
    return pipeline


def their_contestants(
    pipeline: Any, model: Any, prompt: str, noise: Any, steps: int, sync: Callable[[], object]
) -> tuple[dict[str, Contestant], dict[str, str]]:
    """diffusers' loop, bare and with the peers' hooks; and the reasons for those left out."""
    settings = {
        "num_inference_steps": steps,
        "guidance_scale": model.config.guidance_scale,
        "latents": noise.to(model.device, model.dtype),
        "width": model.config.size,
        "height": model.config.size,
        "output_type": "latent",
    }

    def latents() -> Any:
        return pipeline(prompt, **settings).images

    def with_daam() -> tuple[Any, Any]:
        trace = peers.load(peers.DAAM).trace
        with (
            tempfile.TemporaryDirectory() as scratch,  # it makes a folder, and leaves it empty
            trace(pipeline, data_dir=scratch) as hooks,
        ):
            return latents(), hooks.all_heat_maps.ids_to_heatmaps

    def with_amd(mode: str) -> Callable[[], tuple[Any, Any]]:
        def run() -> tuple[Any, Any]:
            capture = peers.load(peers.ATTENTION_MAP_DIFFUSERS).AttentionCapture
            with capture(pipeline, timesteps="all", mode=mode) as hooks:
                return latents(), hooks.records

        return run

    bare = Contestant(lambda: (latents(), ()), steps, sync)
    found, left_out = {THEIRS: bare}, {}
    expected = bare.run()[0]
    for name, run in {
        DAAM: with_daam,
        AMD: with_amd("fast"),
        AMD_EXACT: with_amd("exact"),
    }.items():
        try:
            check_peer(name, expected, *run())
        except peers.Unavailable as error:
            left_out[name] = str(error)
        except Exception as error:  # any: it was written for another diffusers
            left_out[name] = f"{name} does not run with this diffusers: {peers.in_a_line(error)}"
        else:
            found[name] = Contestant(run, steps, sync)
    for why in left_out.values():
        print(f"   left out: {why}", flush=True)
    return found, left_out


def check_peer(name: str, expected: Any, latents: Any, kept: Any) -> None:
    """Raise Unavailable unless the hooks left the run as it was, and recorded something."""
    off = difference(latents, expected)
    if not off < 0.05:
        raise peers.Unavailable(f"{name}'s hooks change the run by {off:.0%} of its largest value")
    if not kept_bytes(kept):
        raise peers.Unavailable(f"{name}'s hooks record nothing with this diffusers")


def difference(a: Any, b: Any) -> float:
    """The largest difference of two tensors, as a share of the second's largest value."""
    a, b = a.float().cpu(), b.float().cpu()
    return float((a - b).abs().max() / b.abs().max())


# --------------------------------------------------------------------------------- the answers


def measured(name: str, given: Options) -> tuple[list[Ratio], dict[str, Any]]:
    """The ratios of one model and all its numbers."""
    import torch

    import sdwidgets as sdw

    steps = given.more.steps or STEPS.get(name, 20)
    prompt = PROMPT if name == "emoji" else TWELVE_WORDS
    sync = synchroniser(given.device)
    label = MODELS.get(name, name)
    print(f"   {label}, {steps} steps a run:", flush=True)
    with model_folder(name) as folder:
        model = sdw.load(folder, device=given.device)
        pipeline = their_pipeline(model, folder, convolutions=name == "sd1")
    side = model.config.size // model.config.autoencoder.factor
    noise = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(0))
    work = our_contestants(model, prompt, noise, steps, sync)
    reference = work[BARE].run()[0]
    for contestant in (KEPT, ATTENTION, EVERYTHING):
        if not torch.equal(work[contestant].run()[0], reference):
            raise SystemExit(f"With {contestant} the picture is another: nothing was measured.")
    theirs, left_out = their_contestants(pipeline, model, prompt, noise, steps, sync)
    off = difference(theirs[THEIRS].run()[0], reference)
    print(f"   ours and diffusers' latents differ by {off:.1e} of the largest value", flush=True)
    work |= theirs
    seconds = interleaved(given.rounds, {who: each.step_seconds for who, each in work.items()})
    own = work[ATTENTION].own[-given.rounds :]  # the first run does not count
    kept = {who: each.bytes_kept for who, each in work.items()}
    numbers = {
        "seconds_a_step": seconds,
        "recorder_seconds_a_step": own,
        "bytes_a_run": kept,
        "steps": steps,
        "tokens": len(model.tokenize([prompt]).pieces[0]) + 2,  # with start and end
        "dtype": str(model.dtype).removeprefix("torch."),
        "difference_from_diffusers": off,
        "left_out": left_out,
    }
    ratios = time_ratios(name, given.device, seconds, own) + memory_ratios(name, kept, steps)
    return ratios, numbers


def time_ratios(
    name: str, device: str, seconds: Mapping[str, Sequence[float]], own: Sequence[float]
) -> list[Ratio]:
    """What recording adds to a step: ours to our loop, the peers' hooks to diffusers'."""
    label = MODELS.get(name, name)
    on_gpu = 1.05 if name == "sd1" and device != "cpu" else None
    whole = 1.1 if name == "emoji" else None

    def ratio(who: str, bare: str, words: str, target: float | None = None) -> Ratio:
        return against(f"A step with {words} ({label})", seconds, who, bare, target)

    ratios = [
        ratio(KEPT, BARE, "the steps kept"),
        ratio(ATTENTION, BARE, "attention recorded", on_gpu or whole),
        ratio(EVERYTHING, BARE, "everything recorded", whole),
    ]
    if device == "cpu":  # a GPU works on while the recorder's code has long returned
        shares = [part / step for part, step in zip(own, seconds[ATTENTION], strict=True)]
        ratios.append(
            Ratio(
                f"The recorder's own share of a step ({label})",
                statistics.median(shares),
                0.01 if name == "sd1" else None,
                f"recorder {duration(statistics.median(own))}",
                f"step {duration(statistics.median(seconds[ATTENTION]))}",
            )
        )
    ratios += [
        ratio(who, THEIRS, f"the hooks of {who}")
        for who in (DAAM, AMD, AMD_EXACT)
        if who in seconds
    ]
    return ratios


def memory_ratios(name: str, kept: Mapping[str, int], steps: int) -> list[Ratio]:
    """What a step leaves in memory: against 1 MB, and against the peers'."""
    label = MODELS.get(name, name)
    attention = (kept[ATTENTION] - kept[KEPT]) / steps
    target = 1.0 if name == "sd1" else None

    def words(who: str, size: float) -> str:
        return f"{who} {size / 1e6:.3g} MB"

    def ratio(what: str, ours: float, other: float, who: str, target: float | None = None) -> Ratio:
        return Ratio(f"{what} ({label})", ours / other, target, words("ours", ours), who)

    ratios = [ratio("Attention kept of a step", attention, 1e6, "1 MB", target)]
    ratios += [
        ratio(
            "Attention kept of a step", attention, kept[who] / steps, words(who, kept[who] / steps)
        )
        for who in (AMD, AMD_EXACT)
        if who in kept
    ]
    if DAAM in kept:  # it keeps the sum over all steps, however many, so what is compared is a run
        ratios.append(
            ratio("Attention of 50 steps", 50 * attention, kept[DAAM], words(DAAM, kept[DAAM]))
        )
    return ratios


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument(
            "--model", nargs="+", default=list(MODELS), help="of tiny, emoji, sd1; all; or paths"
        )
        parser.add_argument("--steps", type=int, help="of a run; else 20, of sd1 2")

    given = options(__doc__, 7, add)
    question = "What does recording cost, in seconds and bytes a step?"
    described = begin(question, given)

    use_threads(given.threads)
    ratios: list[Ratio] = []
    numbers: dict[str, Any] = {}
    for name in given.more.model:
        found, numbers[name] = measured(name, given)
        ratios += found
    # A run of some models is kept beside that of the others, not in its place.
    some = [Path(name).name for name in given.more.model if given.more.model != list(MODELS)]
    kept_as = "_".join(["attention_cost", *some])
    return report(kept_as, question, ratios, given, described, **numbers)


if __name__ == "__main__":
    sys.exit(main())
