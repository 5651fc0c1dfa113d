"""The training loop: a generator of ``TrainStep``s, so progress bars, plots and early stops are its
consumers.

Everything random is drawn from ``(seed, step)``: a seed gives the same result every time on the
same device, and a run resumed at step n draws what the uninterrupted run would have drawn. Several
processes share each batch (see `Draw`), so together they train what a single process would.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..checkpoints.target import device_of
from ..checks import real, shown, whole
from ..ending import Work, after_sigterm, going_on, over
from ..errors import CheckpointError, InputError, NumericsError
from .checkpoint import REMEDY, check_fits, load_optimizers, read_checkpoint, save_atomically
from .identity import check_same
from .interrupts import held_back
from .muon import Muon, split
from .surroundings import settled

if TYPE_CHECKING:
    from accelerate import Accelerator


LARGEST_SEED = 2**32 - 1
"""torch's generator for CPUs has 32 bits: a larger seed would repeat a smaller one's numbers."""

LEAVING = 10.0
"""Seconds for which the end of the process waits for the consumer's thread to end."""


@dataclass(frozen=True)
class TrainStep:
    """An optimiser step: ``index`` of ``total`` (from 0), ``loss``, further ``metrics``, learning
    rate ``lr`` and the ``seconds`` it took."""

    index: int
    total: int
    loss: float
    lr: float
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Draw:
    """What a step draws its batch from: the samples' numbers, and noise for them.

    The batch of ``size`` samples is split evenly over ``ranks`` processes; this process is number
    ``rank``. Noise is drawn for the whole batch and each process takes its own rows, so all
    processes together draw what a single process would. ``gather`` joins the rows of all
    processes.
    """

    step: int
    size: int
    generator: torch.Generator
    rank: int = 0
    ranks: int = 1
    gather: Callable[[Tensor], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        return self.generator.device

    @property
    def rows(self) -> slice:
        """This process's rows of the batch."""
        share = self.size // self.ranks
        return slice(self.rank * share, (self.rank + 1) * share)

    @property
    def numbers(self) -> range:
        """The numbers of this process's samples in the endless sequence of all samples."""
        return range(self.step * self.size, (self.step + 1) * self.size)[self.rows]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise [rows, *shape]."""
        return self._drawn(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform noise in [0, 1), [rows, *shape]."""
        return self._drawn(torch.rand, shape)

    def whole(self, values: Tensor) -> Tensor:
        """All processes' values [size, ...] from this process's [rows, ...]; without gradients."""
        values = values.detach()
        return self.gather(values) if self.gather else values

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a ``value`` over all processes; without gradients."""
        return self.whole(value[None]).mean(0)

    def _drawn(self, draw: Any, shape: tuple[int, ...]) -> Tensor:
        whole: Tensor = draw(
            (self.size, *shape), generator=self.generator, device=self.device, dtype=torch.float32
        )
        return whole[self.rows]


class Task(Protocol):
    """What is trained: ``model`` holds the weights, ``loss`` makes a batch from a `Draw`.

    `train` sets ``average``, so a task can show what the averaged weights do.
    """

    average: Average | None

    @property
    def model(self) -> nn.Module: ...

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        """The scalar ``loss``, a mean over the batch, and any further scalars to report."""
        ...

    # A task may also have a method ``identity``, which returns facts that identify the training.
    # The checkpoint keeps them; a checkpoint with other facts is refused.


class _Objective(nn.Module):
    """A task's loss as a module's forward, which is what accelerate synchronises."""

    def __init__(self, task: Task):
        super().__init__()
        self.model = task.model
        self.task = task

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        return self.task.loss(draw)


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    ``matrix_lr`` is the learning rate of hidden layers' matrices (Muon), ``lr`` that of all other
    weights (AdamW), ``adversary_lr`` that of an adversary. They rise over ``warmup`` steps, stay
    constant, and fall linearly to zero over the last ``cooldown`` share of the steps, so a run can
    be made longer, or ended, at any time before that (arXiv 2405.18392). ``ema`` is the decay of
    the weights' running average. ``clip`` is the largest norm of a step's gradients. ``seed`` is
    from 0 to 2^32 - 1. Raises InputError for numbers out of range."""

    steps: int
    batch_size: int = 16
    lr: float = 1e-3
    matrix_lr: float = 0.02
    adversary_lr: float = 2e-4
    warmup: int = 50
    cooldown: float = 0.4
    weight_decay: float = 0.01
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name in ("steps", "warmup"):
            whole(name, getattr(self, name), 0, 10**12)
        for name in ("batch_size", "checkpoint_every"):
            whole(name, getattr(self, name), 1, 10**12)
        whole("seed", self.seed, 0, LARGEST_SEED)
        for name in ("lr", "matrix_lr", "adversary_lr", "weight_decay"):
            real(name, getattr(self, name), 0, 1e6)
        real("clip", self.clip, 1e-9, 1e6)  # 0 would stop all learning
        for name in ("cooldown", "ema"):
            real(name, getattr(self, name), 0, 1)

    def share_at(self, step: int) -> float:
        """The factor on the learning rates at a step, in (0, 1]."""
        rising = (step + 1) / self.warmup if self.warmup else 1.0
        falling = (self.steps - step) / max(self.cooldown * self.steps, 1)
        return min(rising, 1.0, max(falling, 0.0))


class Average:
    """The exponential moving average of a model's weights (Karras et al., arXiv 2312.02696,
    discuss why it matters); the decay grows with the steps, so that the start is forgotten."""

    def __init__(self, model: nn.Module):
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float, step: int) -> None:
        decay = min(decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            average = self.weights[name]
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), 1 - decay)
            else:
                average.copy_(value)


M = TypeVar("M", bound=nn.Module)


def placed(model: M, device: torch.device | str) -> M:
    """The model on ``device``, its convolutions' weights in the fastest memory layout."""
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def halves_well(device: torch.device) -> bool:
    """Whether bfloat16 makes training faster on ``device``: on GPUs, and on CPUs that multiply it
    in hardware with oneDNN's kernels. Elsewhere it is slower, up to a hundred times."""
    if device.type != "cpu":
        return device.type == "cuda"
    in_hardware = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    has_kernels = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    return bool(in_hardware() and has_kernels())


def half_precision(device: torch.device) -> AbstractContextManager:
    """A context that computes in bfloat16 where that makes training faster."""
    return torch.autocast(device.type, torch.bfloat16) if halves_well(device) else nullcontext()


def seeded(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random generator of a step of a run; each seed has its own."""
    return torch.Generator(device).manual_seed(seed * 1_000_003 + step)


def distributed(device: str | torch.device = "auto") -> Accelerator:
    """accelerate's view of the processes that ``torchrun`` or ``accelerate launch`` started. From
    now on each process has its own GPU (``.device``), or all are on the CPU."""
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise InputError(
            "Training on more than one process needs accelerate.\n"
            "Install it: pip install 'sdwidgets[train]'"
        ) from None
    # An adversary that starts late has no gradients at first. The loop itself uses half precision.
    late = DistributedDataParallelKwargs(find_unused_parameters=True)
    here = device_of(device).type != "cuda"
    return Accelerator(kwargs_handlers=[late], cpu=here, mixed_precision="no")


def train(
    task: Task,
    plan: Plan,
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    accelerator: Accelerator | None = None,
) -> Iterator[TrainStep]:
    """Train ``task.model`` in place, yielding a ``TrainStep`` per step; resume from ``checkpoint``.

    After the last step, or when the consumer stops early (with ``break``, ``close()``, Ctrl-C or
    SIGTERM, which take effect between steps) or the process ends, the checkpoint holds the weights
    ("model"), their average ("ema"), the optimisers' states and the step reached. With an
    ``accelerator`` (see `distributed`) its processes share each batch of ``plan.batch_size``, and
    the first process writes the checkpoint.

    Raises NumericsError if the loss or a gradient is not finite (the last checkpoint then stays
    untouched); CheckpointError if the checkpoint cannot be written, or belongs to another training
    (then nothing is loaded); InputError for a batch that cannot be split evenly, or a task on
    another process's device.
    """
    _check(task, plan, checkpoint)
    steps = _steps(task, plan, None if checkpoint is None else Path(checkpoint), accelerator)
    return _each_settled(steps)


def _each_settled(steps: Generator[TrainStep, None, None]) -> Iterator[TrainStep]:
    """The same steps, each made in settled surroundings; the consumer keeps its own."""
    try:
        while True:
            with settled(gradients=True):
                step = next(steps, None)
            if step is None:
                return
            yield step
    finally:
        steps.close()


def _steps(
    task: Task, plan: Plan, path: Path | None, accelerator: Accelerator | None
) -> Generator[TrainStep, None, None]:
    rank, ranks = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    if plan.batch_size % ranks:
        raise InputError(
            f"A batch of {plan.batch_size} cannot be split evenly over {ranks} processes.",
            parameter="batch_size",
        )
    model = task.model.train()
    device = next(model.parameters()).device
    if accelerator:
        _check_device(device, accelerator)
    matrices, others, adversary = split(model)
    optimizers = _optimizers(plan, device, matrices, others, adversary)
    full = [plan.matrix_lr, plan.lr, plan.adversary_lr]
    average = Average(model)
    identity: dict[str, Any] = getattr(task, "identity", dict)() if path else {}
    identity["seed of the plan"] = plan.seed
    start = 0
    if path and path.exists():
        state = read_checkpoint(path, device)
        check_fits(state, model, path)
        check_same(state.get("identity"), identity, path, REMEDY)
        if state["step"] > plan.steps:
            raise CheckpointError(
                f"{path} has {state['step']:,} steps already, and the plan has {plan.steps:,}.\n"
                "Plan more steps, or give a new name to start over. Nothing was loaded."
            )
        kept = state.get("optimizers")  # an unpacked model has none, and only some of the weights
        if kept is not None:
            load_optimizers(optimizers, kept, path)
        model.load_state_dict(state["model"], strict=kept is not None)
        average.weights |= state["ema"]
        start = state["step"]
    if accelerator:
        _check_together(start, accelerator, device)
    task.average = average
    objective: nn.Module = _Objective(task)
    if accelerator:
        objective = accelerator.prepare_model(objective)

    def save(step: int) -> None:
        if path and rank == 0:
            state: dict = {"model": model.state_dict(), "ema": average.weights, "step": step}
            state["identity"] = identity
            state["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
            save_atomically(state, path)

    done = saved = start
    updating = ending = False
    busy = threading.RLock()  # during a step, and while a file is written
    consumer = threading.current_thread()
    gather = accelerator.gather if accelerator else None

    def keep() -> None:
        """Write what was reached since the last checkpoint."""
        nonlocal saved
        with held_back(), busy:
            if done > saved and not updating:
                save(done)
                saved = done

    def end() -> None:
        nonlocal ending
        ending = True

    def wait(seconds: float) -> None:
        if busy.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            try:
                keep()
            finally:
                busy.release()
        if consumer is not threading.current_thread():  # it still has tensors to free
            consumer.join(min(seconds, LEAVING))

    work = Work(end, wait, math.inf)
    going_on(work)
    after_sigterm()
    try:
        for index in range(start, plan.steps):
            began = time.perf_counter()
            share = plan.share_at(index)
            groups = [group for optimizer in optimizers for group in optimizer.param_groups]
            for group, most in zip(groups, full, strict=True):
                group["lr"] = most * share
            source = seeded(plan.seed, index, device)
            draw = Draw(index, plan.batch_size, source, rank, ranks, gather)
            consumer = threading.current_thread()
            with held_back(), busy:
                if ending:  # the process ends, and another thread has written the checkpoint
                    return
                model.zero_grad(set_to_none=True)
                with half_precision(device):
                    losses = objective(draw)
                losses["loss"].backward()
                norms = [  # separately: an adversary's gradients can dwarf the others
                    nn.utils.clip_grad_norm_(some, plan.clip)
                    for some in (matrices + others, adversary)
                    if some
                ]
                values, norm = _means(losses, accelerator), sum(float(one) for one in norms)
                _check_finite(values, norm, index, plan)
                updating = True
                for optimizer in optimizers:
                    optimizer.step()
                average.update(model, plan.ema, index)
                done, updating = index + 1, False
            if done % plan.checkpoint_every == 0 and done < plan.steps:
                keep()
            yield TrainStep(
                index,
                plan.steps,
                values.pop("loss"),
                plan.lr * share,
                time.perf_counter() - began,
                values,
            )
    except (NumericsError, CheckpointError):
        done = saved  # memory is spoilt, or cannot be written: keep the file
        raise
    finally:
        try:
            keep()
        finally:
            over(work)


def _check(task: object, plan: object, checkpoint: object) -> None:
    """Raise InputError for what cannot be trained."""
    model = getattr(task, "model", None)
    if not isinstance(model, nn.Module) or not callable(getattr(task, "loss", None)):
        raise InputError(
            f"task must be a training task, got {shown(task)}.\n"
            "Make it with training.autoencoder, training.diffusion or training.text.",
            parameter="task",
        )
    if not isinstance(plan, Plan):
        raise InputError(
            f"plan must be a Plan, got {shown(plan)}.\nFor example: training.Plan(steps=500)",
            parameter="plan",
        )
    if not isinstance(checkpoint, (str, os.PathLike, NoneType)):
        raise InputError(
            f"checkpoint must be the path of a file or None, got {shown(checkpoint)}.",
            parameter="checkpoint",
        )
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if not trained:
        raise InputError(
            "The task's model has no weight that learns.\n"
            "Call requires_grad_(True) on what is to be trained.",
            parameter="task",
        )
    if any(weight.is_meta for weight in trained):
        raise InputError(
            "The task's model was made on the meta device: its weights have no values.\n"
            "Make it outside of torch.device('meta').",
            parameter="task",
        )
    if any(weight.is_inference() for weight in trained):
        raise InputError(
            "The task's model was made in torch.inference_mode(), so it cannot learn.\n"
            "Make it outside, or train a copy: copy.deepcopy(model).",
            parameter="task",
        )
    kinds = {weight.dtype for weight in trained} - {torch.float32}
    if kinds:
        raise InputError(
            f"The task's model has weights in {shown(kinds.pop())}, and trainings need float32.\n"
            "Call float() on it first. Half precision is used where it is faster.",
            parameter="task",
        )


def _check_device(device: torch.device, accelerator: Accelerator) -> None:
    """Raise InputError for a task that was made before its process had its own GPU."""
    own = torch.empty(0, device=accelerator.device).device  # "cuda:0" of "cuda", "cpu" of "cpu:0"
    if device != own:
        raise InputError(
            f"The task is on {device}, but this process trains on {own}.\n"
            "Call distributed() before making the task, or make it with device=accelerator.device."
        )


def _check_together(start: int, accelerator: Accelerator, device: torch.device) -> None:
    """Raise CheckpointError if machines without a shared folder read different checkpoints."""
    starts = set(accelerator.gather(torch.tensor([start], device=device)).tolist())
    if len(starts) > 1:
        raise CheckpointError(
            f"The processes would begin at different steps: {sorted(starts)}.\n"
            "Put the checkpoint into a folder that all machines share, or copy it to each machine."
        )


def _optimizers(
    plan: Plan,
    device: torch.device,
    matrices: list[Tensor],
    others: list[Tensor],
    adversary: list[Tensor],
) -> list[torch.optim.Optimizer]:
    """Muon for hidden matrices; AdamW for all other weights, with a separate adversary group."""
    half = torch.bfloat16 if halves_well(device) else torch.float32
    groups: list[dict] = [{"params": others}, {"params": adversary, "lr": plan.adversary_lr}]
    return [
        Muon(matrices, plan.matrix_lr, decay=plan.weight_decay, dtype=half),
        torch.optim.AdamW(groups, plan.lr, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def _means(losses: dict[str, Tensor], accelerator: Accelerator | None) -> dict[str, float]:
    """The losses' means over all processes."""
    values = torch.stack([value.detach().float() for value in losses.values()])
    if accelerator:
        values = accelerator.reduce(values, "mean")
    return dict(zip(losses, values.tolist(), strict=True))


def _check_finite(values: dict[str, float], norm: float, step: int, plan: Plan) -> None:
    """Raise NumericsError, naming the first term that is not finite, before any weight changes."""
    if math.isfinite(values["loss"]) and math.isfinite(norm):
        return
    bad = [name for name, value in values.items() if not math.isfinite(value) and name != "loss"]
    if math.isfinite(values["loss"]):
        what = f"The loss is {values['loss']:g} at step {step}, but its gradients are not finite"
    else:
        where = f", first in {bad[0]!r}" if bad else ""
        what = f"The training loss became {values['loss']} at step {step}{where}"
    raise NumericsError(
        f"{what}.\nNo weight was changed, and the last checkpoint is untouched.\n"
        f"Lower learning rates than {plan.lr:g} and {plan.matrix_lr:g} usually help."
    )
