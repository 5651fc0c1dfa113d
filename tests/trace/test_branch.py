"""Branches: runs that go on from before a step of another run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from control_nets import control_config, random_control
from PIL import Image
from small_families import picture

import sdwidgets as sdw
from sdwidgets.configs import (
    TINY,
    DepthConfig,
    EmbedderConfig,
    ImageConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
)
from sdwidgets.errors import InputError
from sdwidgets.manager import ModelManager, Request
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sampling import SAMPLERS
from sdwidgets.trace import Trace, read_record

Make = Callable[[ModelConfig], LatentDiffusion]
N = 5
"""Steps of the runs here."""
SETTINGS: dict[str, Any] = {"steps": N, "seed": 3, "sampler": "euler"}
STOCHASTIC: dict[str, Any] = {**SETTINGS, "sampler": "ddim", "eta": 0.7}


@contextmanager
def calls(model: LatentDiffusion) -> Iterator[list[int]]:
    """The sizes of the batches for which the network is called meanwhile."""
    seen: list[int] = []
    hook = model.unet.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        yield seen
    finally:
        hook.remove()


def told(*more: EmbedderConfig, **unet: Any) -> ModelConfig:
    """TINY with further embedders, and a network that takes what they make."""
    config = replace(TINY, embedders=(*TINY.embedders, *more))
    unet = {"in_channels": 4 + config.concat_width, "vector_dim": config.vector_width, **unet}
    return replace(config, unet=replace(TINY.unet, **unet))


def left_half() -> Image.Image:
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    return mask


def assert_same(one: Trace, other: Trace) -> None:
    """All latents are the same, to the bit, and the images."""
    assert [step.index for step in one.steps] == [step.index for step in other.steps]
    for a, b in zip(one.steps, other.steps, strict=True):
        assert (a.sigma, a.sigma_next, a.draws) == (b.sigma, b.sigma_next, b.draws)
        for name in ("x", "denoised", "x_next", "cond", "uncond"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert [each.tobytes() for each in one.images] == [each.tobytes() for each in other.images]
    assert one.complete == other.complete and one.expected == other.expected


# -------------------------------------------------------------------------------- nothing changed


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance", [1.0, 3.0], ids=["plain", "guided"])
def test_a_branch_with_nothing_changed_is_the_run(
    tiny_model: LatentDiffusion, sampler: str, guidance: float
) -> None:
    settings = {**SETTINGS, "sampler": sampler, "guidance_scale": guidance}
    run = tiny_model.sample("a cat", **settings)
    with calls(tiny_model) as made:
        counts = [len(made) for _ in run]
    trace = tiny_model.generate("a cat", **settings)
    for step in range(N):
        with calls(tiny_model) as made:
            branch = trace.branch(step)
        assert_same(branch, trace)
        assert len(made) == counts[-1] - (counts[step - 1] if step else 0)  # only the rest


def test_the_first_steps_are_the_parents_own(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS, attention=True)
    branch = trace.branch(3, prompt="a dog")
    assert all(one is other for one, other in zip(branch.steps[:3], trace.steps, strict=False))
    assert [step.index for step in branch.steps] == list(range(N))
    assert branch.steps[2].x_next is trace.steps[2].x_next
    np.testing.assert_array_equal(branch.steps[3].x, trace.steps[3].x)
    assert all(step.attention is not None and step.attention.cross for step in branch.steps)
    parent = branch.parent
    assert parent is not None and parent.trace is trace
    assert (parent.how, parent.step, parent.seed, parent.edit) == ("branch", 3, None, None)
    assert parent.record["settings"]["prompt"] == "a cat"
    assert (branch.prompt, branch.settings.seed) == ("a dog", 3)
    assert branch.seconds[:3] == trace.seconds[:3] and branch.total < sum(branch.seconds)


def v_prediction() -> ModelConfig:
    return replace(TINY, schedule=replace(TINY.schedule, prediction="v"))


GIVEN: dict[str, tuple[ModelConfig, dict[str, Any]]] = {
    "v": (v_prediction(), {}),
    "image to image": (TINY, {"image": picture(16, 16), "strength": 0.8}),
    "inpainting": (TINY, {"image": picture(16, 16), "mask": left_half(), "strength": 0.8}),
    "all of a mask": (TINY, {"image": picture(16, 16), "mask": left_half(), "strength": 1.0}),
    "native inpainting": (
        told(MaskedImageConfig()),
        {"image": picture(16, 16), "mask": left_half(), "strength": 0.8},
    ),
    "editing": (told(ImageConfig()), {"image": picture(16, 16), "image_guidance_scale": 2.0}),
    "depth": (told(DepthConfig()), {"depth": np.arange(256.0).reshape(16, 16)}),
    "enlarging": (told(LowResolutionConfig(), classes=1000), {"image": picture(8, 8)}),
    "latents": (TINY, {"latents": torch.ones(2, 4, 8, 8)}),
    "rescaled": (TINY, {"guidance_rescale": 0.5}),
    "part of the grid": (TINY, {"steps": N + 3, "start_step": 2, "end_step": N + 2}),
    "outpainting": (TINY, {"image": picture(16, 16), "pad": (0, 4, 6, 0), "strength": 1.0}),
    "part of outpainting": (TINY, {"image": picture(16, 16), "pad": 4, "strength": 0.8}),
    "native outpainting": (
        told(MaskedImageConfig()),
        {"image": picture(16, 16), "pad": (8, 0, 0, 0)},
    ),
    "variation": (TINY, {"variation": (11, 0.3)}),
    "variation of an image": (
        TINY,
        {"image": picture(16, 16), "strength": 0.8, "variation": (11, 0.3)},
    ),
    "windows": (TINY, {"width": 32, "window": 16}),
    "given levels": (TINY, {"steps": None, "sigmas": (9.0, 4.0, 2.0, 1.0, 0.4, 0.0)}),
}


@pytest.mark.parametrize(("config", "given"), GIVEN.values(), ids=GIVEN)
def test_a_branch_has_what_the_run_was_given(
    make_model: Make, config: ModelConfig, given: dict[str, Any]
) -> None:
    model = make_model(config)
    prompts = ["a cat", "a dog"]
    with calls(model) as made:
        trace = model.generate(prompts, **{**STOCHASTIC, **given})
    count = len(trace.steps)
    each = len(made) // count  # of a step: more than one with windows
    for step in (0, 1, count // 2, -1):
        with calls(model) as made:
            assert_same(trace.branch(step), trace)
        assert len(made) == each * (count - step % count)


def test_a_branch_has_the_controls_of_the_run(tiny_model: LatentDiffusion) -> None:
    net = random_control(control_config(TINY))
    control = sdw.Control(net, picture(16, 16), strength=0.8, end=0.8)
    trace = tiny_model.generate("a cat", **SETTINGS, control=control)
    assert_same(trace.branch(2), trace)
    again = trace.branch(2, control=control)
    assert_same(again, trace)
    assert again.steps[2].control and not np.array_equal(
        trace.branch(2, control=()).steps[-1].x_next, trace.steps[-1].x_next
    )


def test_a_control_that_is_gone_is_asked_for(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    net = random_control(control_config(TINY))
    control = sdw.Control(net, picture(16, 16))
    trace = tiny_model.generate("a cat", **SETTINGS, control=control)
    back = Trace.load(trace.save(tmp_path / "a.sdtrace"))
    with pytest.raises(InputError, match="Give it again: control="):
        back.branch(2, model=tiny_model)
    assert back.branch(2, control=control, model=tiny_model).complete


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_branch_of_one_image_of_a_batch_is_that_image(
    tiny_model: LatentDiffusion, sampler: str
) -> None:
    settings = {**SETTINGS, "sampler": sampler}
    batch = tiny_model.generate(["a cat", "a dog"], **settings)
    branch = batch.branch(2, picture=1)
    assert (branch.prompt, branch.settings.seed, branch.batch_size) == ("a dog", 4, 1)
    for one, other in zip(branch.steps, batch.steps, strict=True):
        np.testing.assert_allclose(one.x_next, other.x_next[1:], atol=1e-4)
    assert branch.parent is not None and branch.parent.record["settings"]["prompt"] == "a dog"


# ---------------------------------------------------------------------------------- what changed


def test_a_branch_from_the_start_is_a_run(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    branch = trace.branch(0, prompt="a dog", sampler="dpmpp_2m", steps=4)
    other = tiny_model.generate("a dog", steps=4, seed=3, sampler="dpmpp_2m")
    np.testing.assert_allclose(
        branch.steps[-1].x_next, other.steps[-1].x_next, rtol=1e-3, atol=1e-3
    )


def test_what_a_branch_changes_has_an_effect_from_there_on(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    changes: list[dict[str, Any]] = [
        {"prompt": "a dog"},
        {"negative_prompt": "a dog"},
        {"guidance_scale": 5.0},
        {"guidance_scale": 1.0},
        {"guidance_rescale": 0.7},
        {"clip_skip": 1},
        {"sampler": "heun"},
        {"sampler": "ddim", "eta": 1.0},
    ]
    for change in changes:
        branch = trace.branch(2, **change)
        np.testing.assert_array_equal(branch.steps[2].x, trace.steps[2].x)
        assert not np.array_equal(branch.steps[-1].x_next, trace.steps[-1].x_next), change
        assert len(branch.steps) == N


def test_fresh_noise_comes_from_its_seed(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **STOCHASTIC)
    one, again, other = (trace.branch(2, seed=seed) for seed in (7, 7, 8))
    assert_same(one, again)
    assert not np.array_equal(one.steps[2].x_next, trace.steps[2].x_next)
    assert not np.array_equal(one.steps[2].x_next, other.steps[2].x_next)
    assert [step.draws for step in one.steps] == [1, 2, 0, 1, 2]
    assert one.settings.seed == 3  # the run began from that
    assert one.parent is not None and one.parent.seed == 7
    assert_same(trace.branch(2, seed=3), trace)  # its noise goes on


def test_each_image_has_fresh_noise_of_its_own(tiny_model: LatentDiffusion) -> None:
    batch = tiny_model.generate("a cat", batch_size=2, **STOCHASTIC)
    both = batch.branch(2, seed=20)
    second = batch.branch(2, seed=21, picture=1)
    np.testing.assert_allclose(second.steps[-1].x_next, both.steps[-1].x_next[1:], atol=1e-4)
    assert both.record(1)["parent"]["seed"] == 21
    swapped = batch.branch(2, seed=[21, 20])
    assert swapped.parent is not None and swapped.parent.seed == (21, 20)


@pytest.mark.parametrize(
    "change",
    [{"steps": 12}, {"schedule": "karras"}, {"sigmas": (14.0, 3.0, 1.5, 0.5, 0.1, 0.0)}],
    ids=["steps", "schedule", "sigmas"],
)
def test_another_grid_goes_on_below_the_level_reached(
    tiny_model: LatentDiffusion, change: dict[str, Any]
) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    branch = trace.branch(2, **change)
    level = trace.steps[2].sigma
    whole = tiny_model.sample("a cat", **{**SETTINGS, "steps": None, **change}).levels
    if change.get("schedule"):
        whole = tiny_model.sample("a cat", **SETTINGS, **change).levels
    assert [step.sigma for step in branch.steps[:3]] == [step.sigma for step in trace.steps[:3]]
    left = [step.sigma_next for step in branch.steps[2:]]
    assert left == [one for one in whole if one < level * 0.999]
    assert branch.complete and branch.expected == len(branch.steps) == 2 + len(left)
    assert_same(branch.branch(3), branch)  # and so does its own branch


def test_a_grid_without_lower_levels_is_refused(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    with pytest.raises(InputError, match="no noise level below"):
        trace.branch(4, sigmas=(14.0, 10.0))
    ends = tiny_model.generate("a cat", **SETTINGS, end_step=3)
    with pytest.raises(InputError, match="end_step"):
        ends.branch(1, steps=9)
    assert ends.branch(1, steps=9, end_step=8).steps[-1].sigma_next > 0


def test_history_serves_another_sampler_but_no_other_prompt(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", steps=N, seed=3, sampler="dpmpp_2m")
    whole = trace.steps[-1].x_next
    # the same sampler again, by way of another one
    there = trace.branch(3, sampler="euler").branch(3, sampler="dpmpp_2m")
    np.testing.assert_array_equal(there.steps[-1].x_next, whole)
    # with another prompt, the first step is as that of a run that has not looked at anything
    dog = trace.branch(3, prompt="a dog")
    first_order = trace.branch(3, prompt="a dog", sampler="euler")
    np.testing.assert_allclose(dog.steps[3].x_next, first_order.steps[3].x_next, rtol=1e-5)


# ------------------------------------------------------------------------------------ parents


def test_branches_of_branches_nest(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    first = tiny_model.generate("a cat", **STOCHASTIC)
    second = first.branch(1, prompt="a dog", seed=9)
    third = second.branch(3, guidance_scale=1.0)
    for made, parent in ((third, second), (second, first)):
        assert made.parent is not None and made.parent.trace is parent
    said = third.record()["parent"]
    assert (said["step"], said["record"]["parent"]["step"]) == (3, 1)
    assert (said["seed"], said["record"]["parent"]["seed"]) == (9, 9)  # its noise goes on
    assert_same(third.branch(4), third)
    assert_same(third.branch(3), third)
    assert_same(second.branch(2), second)
    # before a branch, its parent's noise: the run again, with the branch's words
    back = second.branch(0)
    assert_same(back, tiny_model.generate("a dog", **STOCHASTIC))
    loaded = Trace.load(third.save(tmp_path / "a.sdtrace"))
    exact = loaded.branch(4, exact=True, model=tiny_model)
    assert_same(exact, third)


def test_exact_makes_the_first_steps_of_a_loaded_run_again(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    trace = tiny_model.generate("a cat", **STOCHASTIC, attention=True)
    loaded = Trace.load(trace.save(tmp_path / "a.sdtrace"))
    with pytest.raises(InputError, match="not loaded"):
        loaded.branch(3)
    with calls(tiny_model) as made:
        near = loaded.branch(3, model=tiny_model)
    assert len(made) == N - 3
    assert any("16 bits" in notice for notice in near.notices)
    np.testing.assert_allclose(near.steps[-1].x_next, trace.steps[-1].x_next, atol=0.05)
    with calls(tiny_model) as made:
        exact = loaded.branch(3, exact=True, model=tiny_model)
    assert len(made) == N
    assert_same(exact, trace)
    assert not any("16 bits" in notice for notice in exact.notices)


def test_records_without_draws_are_understood(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **STOCHASTIC)
    old = replace(trace, steps=tuple(replace(step, draws=None) for step in trace.steps))
    np.testing.assert_array_equal(old.branch(3).steps[-1].x_next, trace.steps[-1].x_next)


def test_a_stopped_run_goes_on(tiny_model: LatentDiffusion) -> None:
    whole = tiny_model.generate("a cat", **STOCHASTIC)
    run = tiny_model.sample("a cat", **STOCHASTIC)
    stopped = Trace.of([next(run), next(run)], run)
    assert not stopped.complete
    assert_same(stopped.branch(2), whole)
    with pytest.raises(InputError, match=r"before step 4.*\n.*before steps 0 to 2"):
        stopped.branch(4)
    assert_same(stopped.branch(4, exact=True), whole)


def test_a_thinned_record_is_branched_where_a_step_is_kept(tiny_model: LatentDiffusion) -> None:
    whole = tiny_model.generate("a cat", **STOCHASTIC)
    thin = replace(whole, steps=whole.steps[::3])  # 0 and 3
    for step in (0, 1, 3, 4):
        branch = thin.branch(step)
        kept = [index for index in (0, 3) if index < step]
        assert [one.index for one in branch.steps] == [*kept, *range(step, N)]
        np.testing.assert_array_equal(branch.steps[-1].x_next, whole.steps[-1].x_next)
        assert branch.complete and len(branch.seconds) == len(branch.steps)
    with pytest.raises(InputError, match="before steps 0, 1, 3, 4"):
        thin.branch(2)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "lms", "euler", "heun"])
def test_a_lost_history_is_told(tiny_model: LatentDiffusion, sampler: str) -> None:
    whole = tiny_model.generate("a cat", **{**SETTINGS, "sampler": sampler})
    thin = replace(whole, steps=whole.steps[::3])
    told = any("looks back" in notice for notice in thin.branch(3).notices)
    assert told == (sampler in ("dpmpp_2m", "lms"))
    assert not any("looks back" in notice for notice in thin.branch(4).notices)
    np.testing.assert_array_equal(
        thin.branch(3, exact=True).steps[-1].x_next, whole.steps[-1].x_next
    )


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "change",
    [
        {"width": 32}, {"height": 32}, {"batch_size": 2}, {"strength": 0.5}, {"image": "a.png"},
        {"mask": "a.png"}, {"latents": 1}, {"start_step": 2}, {"variation": (1, 0.5)}, {"pad": 8},
        {"hires": 2}, {"fit": "pad"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_how_the_run_began_cannot_change(
    tiny_model: LatentDiffusion, change: dict[str, Any]
) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    (name,) = change
    with pytest.raises(InputError, match=f"{name}.*began.*\n.*new run") as caught:
        trace.branch(2, **change)
    assert caught.value.parameter == name


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"step": N}, "no step 5"),
    ({"step": -N - 1}, "no step -6"),
    ({"step": 1.5}, "whole number"),
    ({"step": "2"}, "whole number"),
    ({"step": 1, "promt": "a dog"}, "Did you mean prompt"),
    ({"step": 1, "prompt": ["a", "b"]}, "1 images"),
    ({"step": 1, "sampler": "eulr"}, "euler"),
    ({"step": 1, "eta": 0.5}, "no eta"),
    ({"step": 1, "seed": -1}, "seed"),
    ({"step": 1, "picture": 1}, "picture"),
    ({"step": 1, "exact": 1}, "exact"),
    ({"step": 1, "attention": 3}, "attention"),
    ({"step": 1, "control": 3}, "control"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_what_is_wrong_is_said(
    tiny_model: LatentDiffusion, given: dict[str, Any], said: str
) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    with pytest.raises(InputError, match=said):
        trace.branch(**given)


def test_a_run_of_two_passes_is_branched_in_its_first(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS, hires=2)
    with pytest.raises(InputError, match=r"two passes.*\n.*trace.parent.trace"):
        trace.branch(2)
    first = trace.parent.trace if trace.parent else None
    assert isinstance(first, Trace)
    assert_same(first.branch(2), first)


def test_another_model_is_refused(tiny_model: LatentDiffusion, make_model: Make) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    with pytest.raises(InputError, match="other weights"):
        trace.branch(2, model=make_model(told(DepthConfig())))
    loop = replace(trace, task="")
    with pytest.raises(InputError, match="how its run began"):
        loop.branch(2)


# ------------------------------------------------------------------------------------- watching


def test_a_branch_can_be_watched(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    run = trace.branching(3, prompt="a dog").run()
    assert len(run) == N
    steps = []
    with calls(tiny_model) as made:
        for step in run:
            steps.append(step)
            assert len(made) == max(len(steps) - 3, 0)
    assert [step.index for step in steps] == list(range(N))
    assert steps[2].x_next is steps[3].x
    assert_same(Trace.of(steps, run), trace.branch(3, prompt="a dog"))
    viewer = sdw.Viewer()
    for _ in viewer.watch(trace.branching(3, prompt="a dog").run()):
        pass
    assert viewer.trace is not None and len(viewer.trace.steps) == N
    assert viewer.trace.parent is not None and viewer.trace.parent.trace is trace


def test_a_manager_makes_branches(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **STOCHASTIC)
    with ModelManager() as manager:
        name = manager.add(tiny_model)
        branch = trace.branching(3, prompt="a dog", seed=5)
        job = manager.submit(Request(name, branch.settings, branch=branch))
        made = job.result()
        assert (job.step, job.steps) == (N, N)
        assert_same(made, trace.branch(3, prompt="a dog", seed=5))
        assert made.parent is not None and made.parent.trace is trace
        with pytest.raises(InputError, match="image"):
            manager.submit(Request(name, branch.settings, image=picture(16, 16), branch=branch))


def test_an_image_of_a_branch_says_so(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("a cat", **SETTINGS)
    branch = trace.branch(3, prompt="a dog")
    record = read_record(branch.png())
    assert record is not None and record["parent"]["step"] == 3
    with pytest.raises(InputError, match="branch of another run"):
        sdw.read_settings(branch.png())
    assert sdw.read_settings(branch.png(), partial=True).prompt == "a dog"
