"""The first steps of a branch, which are its parent's own, and what a run needs to go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .controls import controls_again
from .diffusion import SAMPLERS, Step
from .drawing import Drawing
from .errors import InputError
from .settings import Settings
from .trace.branching import Branch
from .trace.parent import DEPTH, Parent
from .trace.record import Record, attention_of
from .trace.step import TraceStep

if TYPE_CHECKING:
    from .pipeline import LatentDiffusion
    from .run import Run


class Resumed:
    """The first steps of a branch's run; ``len()`` is how many there are, perhaps none.

    ``levels``: the noise levels of these steps and, last, that of the latents after them. When
    `steps` has yielded all, ``x`` [B, C, h, w] are these latents, and ``before`` the last steps
    without a gap.
    """

    x: Tensor
    before: tuple[Step, ...] = ()

    def __init__(self, branch: Branch, model: LatentDiffusion):
        """Raises InputError if the steps are to be made again, and cannot be."""
        self.branch = branch
        self._device = model.device
        self._again: Run | None = None
        self.levels: tuple[float, ...] = ()
        if branch.exact and branch.step:
            self._again = _run_again(branch.record, model)
            self.levels = self._again.levels[: len(self) + 1]
        elif not branch.begins_itself:
            self.levels = _levels_before(branch)
        self._draws = {one.index: one.draws for one in branch.record.steps}

    def __len__(self) -> int:
        return self.branch.step

    @property
    def goes_on(self) -> bool:
        """Whether latents of the parent come after them; else the run itself begins."""
        return bool(self.levels)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of them."""
        branch, notices = self.branch, []
        if self.goes_on and branch.record.stored and not branch.exact:
            notices.append(
                "The run was read from a file, which keeps latents in 16 bits, so this branch may"
                " differ slightly; exact=True makes its first steps again."
            )
        is_kept = not len(self) or any(one.index == branch.step - 1 for one in branch.steps)
        if not is_kept and not branch.exact and _looks_back(branch.settings):
            notices.append(
                f"The record does not keep step {branch.step - 1}, at which the sampler looks back,"
                " so it begins anew; exact=True makes the first steps again."
            )
        return tuple(notices)

    def steps(self) -> Iterator[Step]:
        """Yield the steps that are kept, or all of them if they are made again."""
        made: list[Step] = []
        steps = _as_steps(self.branch.steps, self._device)
        if self._again is not None:
            steps = islice(self._again, len(self))
        for step in steps:
            made.append(step)
            yield step
        if self._again is not None:
            self._again.close()
            self._draws = {step.index: step.draws for step in made}
        self.before = tuple(
            step for i, step in enumerate(made) if step.index == len(self) - len(made) + i
        )
        if self.before:
            self.x = self.before[-1].x_next
        elif self.branch.begins is not None:
            self.x = _tensor(self.branch.begins[0], self._device)

    def drawing(self, begun: Drawing, shape: Sequence[int]) -> Drawing:
        """The noise of the steps that are left; ``begun`` has drawn what a run begins with.

        It has drawn as often as the parent had by then. Where the record does not say how often,
        the sampler is asked, without a network.
        """
        seeds, since = self.branch.noise_from
        if self.branch.noise is not None:
            return Drawing(seeds, self._device)
        drawing = begun if since is None else Drawing(seeds, self._device)
        first = since or 0
        known = {first: drawing.count}
        known |= {i: n for i, n in self._draws.items() if n is not None and first <= i <= len(self)}
        last = max(known)
        drawn = drawn_by(self.branch.record.settings, self.levels[last:])
        drawing.skip(known[last] + drawn, shape)
        return drawing


def _levels_before(branch: Branch) -> tuple[float, ...]:
    """The noise levels of the first steps. Only the order counts of those that are not kept."""
    assert branch.begins is not None  # `Branch.of` refuses it
    kept = {step.index: step.sigma for step in branch.steps} | {branch.step: branch.begins[1]}
    places = sorted(kept)
    first = places[0]
    levels = np.interp(range(branch.step + 1), places, [kept[i] for i in places]).tolist()
    levels[:first] = [levels[first] * (1 + (first - i) / first) for i in range(first)]
    return tuple(kept.get(i, level) for i, level in enumerate(levels))


def drawn_by(settings: Settings, levels: Sequence[float]) -> int:
    """How often a sampler draws noise down these levels, whatever the network says."""
    if len(levels) < 2:
        return 0
    count, x = 0, torch.zeros(1, 1, 1, 1)

    def noise() -> Tensor:
        nonlocal count
        count += 1
        return x

    assert settings.sampler is not None
    sampler = SAMPLERS[settings.sampler]
    for _ in sampler(lambda x, sigma: x, x, levels, noise=noise, **settings.options):
        pass
    return count


def _looks_back(settings: Settings) -> bool:
    """Whether a sampler makes another step of the same latents after other steps."""
    assert settings.sampler is not None
    x = torch.ones(1, 1, 1, 1)
    earlier = Step(0, 4.0, 2 * x, -x, 2.0, x)
    made = [
        next(
            SAMPLERS[settings.sampler](
                lambda x, sigma: x / 2,
                x,
                (2.0, 1.0),
                noise=lambda: x,
                before=before,
                **settings.options,
            )
        ).x_next
        for before in ((), (earlier,))
    ]
    return not torch.equal(*made)


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    whole = values if values.flags.writeable else values.copy()  # torch warns of others
    return torch.from_numpy(whole).to(device, torch.float32)


def _as_steps(steps: Sequence[TraceStep], device: torch.device) -> Iterator[Step]:
    """Yield recorded steps as a run's; each begins with the very latents that the last ended at."""
    array, tensor = None, None
    for one in steps:
        x = tensor if tensor is not None and one.x is array else _tensor(one.x, device)
        array, tensor = one.x_next, _tensor(one.x_next, device)
        yield Step(
            one.index,
            one.sigma,
            x,
            _tensor(one.denoised, device),
            one.sigma_next,
            tensor,
            attention=one.attention,
            cond=None if one.cond is None else _tensor(one.cond, device),
            uncond=None if one.uncond is None else _tensor(one.uncond, device),
            control=one.control or None,
            draws=one.draws,
        )


def _run_again(record: Record, model: LatentDiffusion) -> Run:
    """The run of a record, to be made again. Raises InputError if the record does not say how."""
    attention, above = attention_of(record.steps) or False, record.parent
    if above is None:
        return model.run(
            record.settings,
            Branch(record, 0, record.settings).start,
            latents=record.given_latents,
            attention=attention,
            control=controls_again(record.given_controls),
            guide=record.guide,
        )
    controls = [control.as_dict() for control in record.given_controls]
    if (
        above.how != "branch"
        or above.record.get("controls", []) != controls
        or _depth(above) >= DEPTH
    ):
        raise InputError(
            "The first steps of this run cannot be made again from its record alone.\n"
            "Leave exact=True out, or branch the run that it came from.",
            parameter="exact",
        )
    before = replace(
        record,
        settings=Settings(**above.record["settings"]).checked(),
        steps=(),
        parent=_parent_in(above.record),
    )
    branch = Branch(
        before, above.step, record.settings, attention=attention, exact=True, guide=record.guide
    )
    return model.run(record.settings, branch=branch.with_noise(above.seed))


def _parent_in(record: Mapping[str, Any]) -> Parent | None:
    above = record.get("parent")
    return None if above is None else Parent(**above)


def _depth(parent: Parent) -> int:
    above = _parent_in(parent.record)
    return 1 if above is None else 1 + _depth(above)
