from __future__ import annotations

import inspect
import json
import math
import random
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from random_values import anything, near_its_limits

from sdwidgets.configs import SD1, TINY
from sdwidgets.errors import InputError
from sdwidgets.sampling import EVERY_OPTION, OPTIONS, SAMPLERS, SCHEDULES, takers
from sdwidgets.settings import LIMITS, Settings, amount, memory_needed

NAN, INF = math.nan, math.inf

BAD: list[tuple[str, Any]] = [
    *(("steps", value) for value in (0, -1, 2.5, True, "3", NAN, 10**9, 1001, 10**5000)),
    *(("guidance_scale", value) for value in (NAN, INF, -5, 1e6, "7", True)),
    *(("guidance_rescale", value) for value in (NAN, -0.1, 1.1, None)),
    *(("width", value) for value in (0, -8, 1, 7, 33, 32.0, 20000, "64", True, NAN, 10**5000)),
    *(("height", value) for value in (0, -8, 1, 7, 33, 32.0, 20000, INF, [64])),
    *(("batch_size", value) for value in (0, -1, 10**6, 1.0, None)),
    *(("strength", value) for value in (0, NAN, -1, 1.5, None)),
    *(("eta", value) for value in (NAN, 5, -1)),
    *(
        ("sigmas", value)
        for value in (5, [], [1.0], [1, 1], [1, 2], [2, -1], [NAN, 0], [10**9, 0], ["a", 0], "10")
    ),
    *(("start_step", value) for value in (-1, 1000, 1.5, None)),
    *(("end_step", value) for value in (0, -1, 1.5, 1001)),
    *(("variation", value) for value in (5, (1,), (-1, 0.5), (1, 2), (1, NAN), ("a", 0), (1.5, 0))),
    *(("toward", value) for value in ("a", ("a",), ("a", 2), ("a", NAN), (5, 0.5), ("a\ud800", 0))),
    *(("pad", value) for value in (0, -8, 1.5, (8, 8), (0, 0, 0, 0), (8, 8, 8, "8"), 5000)),
    *(("hires", value) for value in (1, 0.5, 5, NAN, "2")),
    *(("hires_strength", value) for value in (0, 1.5, None)),
    *(("hires_steps", value) for value in (0, 2.5, 1001)),
    *(("hires_method", value) for value in ("latent", None)),
    *(("window", value) for value in (0, 5000, "64")),
    *(("refiner_start", value) for value in (-0.1, 1.5, "0.8")),
    *(
        ("original_size", value)
        for value in (5, (5,), (0, 8), (8, 8.0), (8, 10**6), "88", (8, NAN))
    ),
    *(("crop", value) for value in (0, (-1, 0), (0, 0, 0), (True, 0))),
    *(("target_size", value) for value in ((0, 0), (8, None))),
    *(("seed", value) for value in (-1, 2**53, 1.5, "7", [], [1, -1], [None])),
    *(("sampler", value) for value in ("dpm", "__class__", 5, "", ["euler"])),
    *(("schedule", value) for value in ("karas", "__class__", None, 5)),
    *(("prompt", value) for value in (None, [], 5, b"cat", ["a", 5], "a\ud800", "x" * 10**6)),
    *(("negative_prompt", value) for value in (None, [], 5, b"cat", "\udfff")),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_used_is_named_in_three_lines(name: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**{name: value}).checked(SD1)
    assert caught.value.parameter == name
    assert len(str(caught.value).splitlines()) <= 3
    assert all(len(line) < 160 for line in str(caught.value).splitlines())


def test_without_a_model_its_own_values_stay_open() -> None:
    settings = Settings(prompt=["a", "b"], seed=1).checked()
    assert (settings.width, settings.height, settings.guidance_scale) == (None, None, None)
    assert settings.batch_size == 2
    assert settings.checked(TINY) == Settings(prompt=["a", "b"], seed=1).checked(TINY)


@pytest.mark.parametrize(("name", "value"), BAD, ids=range(len(BAD)))
def test_without_a_model_all_but_a_sides_multiple_is_checked(name: str, value: Any) -> None:
    try:
        Settings(**{name: value}).checked()
    except InputError as error:
        assert error.parameter == name
    else:
        assert (name, value) in (("width", 1), ("width", 7), ("width", 33)) or (
            (name, value) in (("height", 1), ("height", 7), ("height", 33))
        )


def test_random_settings_are_refused_in_words_or_plain_and_final() -> None:
    rng, good = random.Random(0), 0
    names = [field.name for field in fields(Settings)]
    for _ in range(10_000):
        given = {
            name: near_its_limits(rng, name) if rng.random() < 0.8 else anything(rng)
            for name in rng.sample(names, rng.randint(1, 4))
        }
        try:
            settings = Settings(**given).checked(TINY)
        except InputError as error:
            assert error.parameter in names and len(str(error).splitlines()) <= 3, given
            continue
        good += 1
        assert settings.checked(TINY) == settings
        assert Settings(**json.loads(json.dumps(settings.as_dict()))).checked(TINY) == settings
    assert 1000 < good < 9000


@pytest.mark.parametrize("name", ["steps", "guidance_scale", "width", "batch_size", "seed"])
def test_limits_themselves_are_allowed(name: str) -> None:
    low, high = LIMITS[name]
    values = (8, high) if name == "width" else (low, high)
    for value in values:
        settings = Settings(**{name: value}).checked(SD1)
        assert getattr(settings, name) == value


def test_what_is_not_given_is_the_models_own() -> None:
    settings = Settings().checked(SD1)
    assert (settings.width, settings.height, settings.guidance_scale) == (512, 512, 7.5)


def test_a_model_may_have_its_own_steps_sampler_and_noise_levels() -> None:
    turbo = replace(SD1, steps=2, sampler="euler_ancestral", schedule_name="uniform")
    settings = Settings().checked(turbo)
    named = settings.steps, settings.sampler, settings.schedule
    assert named == (2, "euler_ancestral", "uniform")
    given = Settings(steps=5, sampler="heun", schedule="karras").checked(turbo)
    assert (given.steps, given.sampler, given.schedule) == (5, "heun", "karras")


def test_noise_levels_given_by_hand_are_the_steps() -> None:
    assert Settings(sigmas=np.array([5.0, 1.0, 0.0])).checked(SD1).steps == 2  # type: ignore[arg-type]
    assert Settings(sigmas=(5, 1, 0), steps=2).checked(SD1).sigmas == (5.0, 1.0, 0.0)
    for clash in ({"steps": 3}, {"schedule": "karras"}):
        with pytest.raises(InputError):
            Settings(sigmas=(5, 1, 0), **clash).checked(SD1)  # type: ignore[arg-type]


def test_a_part_of_the_steps_has_a_step() -> None:
    for part in ({"start_step": 20}, {"start_step": 5, "end_step": 5}):
        with pytest.raises(InputError):
            Settings(**part).checked(SD1)  # type: ignore[arg-type]


def test_padding_on_all_sides_may_be_one_number() -> None:
    assert Settings(pad=8).checked().pad == (8, 8, 8, 8)  # type: ignore[arg-type]


def test_a_missing_seed_is_drawn_and_kept() -> None:
    first, second = Settings().checked(TINY), Settings().checked(TINY)
    assert isinstance(first.seed, int) and first.seed != second.seed
    assert first.checked(TINY) == first


def test_checked_settings_remember_for_which_model() -> None:
    plain = Settings("a cat", width=6).checked()
    assert plain.checked() is plain
    tiny = plain.checked(TINY)
    assert tiny is not plain and tiny.checked(TINY) is tiny and tiny.checked() is tiny
    assert tiny.checked(replace(TINY, name="other")) == tiny
    with pytest.raises(InputError):  # another model needs another check
        tiny.checked(SD1)
    with pytest.raises(InputError):  # and these settings were not checked
        replace(tiny, steps=0).checked(TINY)


def test_numpys_numbers_become_pythons() -> None:
    given = Settings(steps=np.int64(7), guidance_scale=np.float32(2.5), width=np.int32(32))
    settings = given.checked(TINY)
    assert json.loads(json.dumps(settings.as_dict())) == settings.as_dict()
    assert (settings.steps, settings.guidance_scale, settings.width) == (7, 2.5, 32)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("dpm2m", "dpmpp_2m"),
        ("DPM++ 2M SDE", "dpmpp_2m_sde"),
        ("DPM++ 2S a", "dpmpp_2s_ancestral"),
        ("Euler", "euler"),
        ("euler_a", "euler_ancestral"),
        ("Euler a", "euler_ancestral"),
        ("eular", "euler"),
        ("DDIM", "ddim"),
        ("huen", "heun"),
    ],
)
def test_the_nearest_sampler_is_suggested(given: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"Did you mean '{meant}'"):
        Settings(sampler=given).checked(TINY)


@pytest.mark.parametrize(("given", "nearest"), [(33, 32), (7, 8), (1, 8), (0, 8), (517, 520)])
def test_the_nearest_size_is_suggested(given: int, nearest: int) -> None:
    with pytest.raises(InputError, match=f"nearest that works is {nearest}\\."):
        Settings(width=given).checked(SD1)


def test_an_absurd_size_comes_with_the_memory_it_would_take() -> None:
    with pytest.raises(InputError, match="TB of memory"):
        Settings(height=60000).checked(SD1)


def test_steps_are_limited_to_those_trained() -> None:
    from dataclasses import replace

    config = replace(TINY, schedule=replace(TINY.schedule, steps=50))
    assert Settings(steps=50).checked(config).steps == 50
    with pytest.raises(InputError, match="1 to 50"):
        Settings(steps=51).checked(config)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "nul \0",
        "bidi \u202e",
        "family 👨‍👩‍👧",
        "e" + "\u0301" * 5000,
        "<script>alert(1)</script>",
    ],
    ids=["empty", "nul", "bidi", "zwj", "combining", "script"],
)
def test_odd_prompts_are_kept_as_they_are(prompt: str) -> None:
    assert Settings(prompt=prompt).checked(TINY).prompts == (prompt,)


def test_a_list_makes_a_batch() -> None:
    settings = Settings(prompt=["a", "b", "c"], seed=7).checked(TINY)
    assert settings.batch_size == 3
    assert settings.prompts == ("a", "b", "c")
    assert settings.negative_prompts == ("", "", "")
    assert settings.seeds == (7, 8, 9)


def test_seeds_alone_make_a_batch() -> None:
    settings = Settings(prompt="a", seed=[4, 9]).checked(TINY)
    assert (settings.batch_size, settings.seeds, settings.prompts) == (2, (4, 9), ("a", "a"))


@pytest.mark.parametrize(
    "lists",
    [
        {"prompt": ["a", "b"], "seed": [1, 2, 3]},
        {"prompt": ["a", "b"], "batch_size": 3},
        {"prompt": ["a"], "batch_size": 2},
        {"prompt": ["a"] * 65},
        {"seed": 2**53 - 1, "batch_size": 2},
    ],
)
def test_lists_that_disagree_are_refused(lists: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Settings(**lists).checked(TINY)


def test_one_picture_of_a_batch_by_its_own_settings() -> None:
    settings = Settings(prompt=["a", "b"], seed=7, negative_prompt="c").checked(TINY)
    one = settings.of_picture(1)
    assert (one.prompt, one.negative_prompt, one.seed, one.batch_size) == ("b", "c", 8, 1)
    assert one.checked(TINY) == one


def test_settings_survive_json() -> None:
    settings = Settings(prompt=["a", "b"], seed=7).checked(TINY)
    again = Settings(**json.loads(json.dumps(settings.as_dict())))
    assert again.checked(TINY) == settings


def test_strength_spares_the_first_steps() -> None:
    assert Settings(steps=20, strength=0.8).checked(TINY).skipped_steps == 4
    assert Settings(steps=20, strength=1.0).checked(TINY).skipped_steps == 0


def test_strength_that_leaves_no_step_says_which_would() -> None:
    with pytest.raises(InputError, match=r"strength 0\.02 or more"):
        _ = Settings(steps=30, strength=0.016).checked(TINY).skipped_steps
    assert Settings(steps=30, strength=0.02).checked(TINY).skipped_steps == 29


@pytest.mark.parametrize(
    ("steps", "strength", "taken", "effective"),
    [(100, 0.29, 29, 0.29), (20, 0.8, 16, 0.8), (20, 0.82, 16, 0.8), (20, 0.84, 17, 0.85),
     (3, 0.99, 3, 1.0), (1, 0.5, 1, 1.0), (7, 0.5, 4, 4 / 7)],
)  # fmt: skip
def test_strength_is_rounded_to_the_nearest_step(
    steps: int, strength: float, taken: int, effective: float
) -> None:
    settings = Settings(steps=steps, strength=strength).checked(TINY)
    assert steps - settings.skipped_steps == taken
    assert settings.effective_strength == pytest.approx(effective)
    # the effective strength is a strength that means itself
    again = replace(settings, strength=settings.effective_strength)
    assert again.skipped_steps == settings.skipped_steps


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 33, 100, 999, 1000])
def test_every_effective_strength_means_itself(steps: int) -> None:
    for taken in range(1, steps + 1):
        assert Settings(steps=steps, strength=taken / steps).skipped_steps == steps - taken


def test_a_seed_beyond_a_generators_bits_is_refused_with_the_one_that_it_repeats() -> None:
    with pytest.raises(InputError, match="Give 7, which makes the same image") as caught:
        Settings(seed=2**32 + 7).checked()
    assert len(str(caught.value).splitlines()) == 3 and caught.value.parameter == "seed"
    with pytest.raises(InputError):
        Settings(seed=[1, 2**53]).checked()
    with pytest.raises(InputError, match="room"):
        Settings(seed=2**32 - 1, batch_size=2).checked()


def test_the_default_schedule_is_resolved_for_a_model() -> None:
    assert Settings().checked().schedule == "default"
    assert Settings().checked(TINY).schedule == "trailing"
    karras = replace(TINY, schedule=replace(TINY.schedule, spacing="karras"))
    assert Settings().checked(karras).schedule == "karras"
    assert Settings(schedule="config").checked(karras).schedule == "config"


def test_sizes_told_are_pairs_however_they_are_given() -> None:
    settings = Settings(original_size=[64, np.int64(32)], crop=(0, 0)).checked(TINY)
    assert (settings.original_size, settings.crop, settings.target_size) == ((64, 32), (0, 0), None)
    again = Settings(**json.loads(json.dumps(settings.as_dict()))).checked(TINY)
    assert again == settings


def test_eta_acts_in_samplers_that_take_it_alone() -> None:
    assert Settings(sampler="ddim", eta=0.5).checked(TINY).eta == 0.5
    with pytest.raises(InputError, match="ddim"):
        Settings(sampler="heun", eta=0.5).checked(TINY)


def test_the_same_option_has_the_default_of_each_sampler() -> None:
    etas = {name: Settings(sampler=name).checked().options.get("eta") for name in SAMPLERS}
    assert (etas["ddim"], etas["ddpm"], etas["tcd"], etas["heun"]) == (0.0, 1.0, 0.3, None)


def test_the_declared_samplers_are_the_engines() -> None:
    from sdwidgets import diffusion

    assert set(SAMPLERS) == set(diffusion.SAMPLERS)
    assert set(SCHEDULES) == set(diffusion.SCHEDULES)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_samplers_options_are_its_arguments_and_fields_of_settings(sampler: str) -> None:
    from sdwidgets import diffusion

    arguments = inspect.signature(diffusion.SAMPLERS[sampler]).parameters.values()
    taken = {one.name: one.default for one in arguments if one.kind is one.KEYWORD_ONLY}
    del taken["noise"], taken["before"]
    assert taken == {option.name: option.default for option in OPTIONS[sampler]}
    settings = Settings(sampler=sampler).checked()
    assert settings.options == taken
    for option in OPTIONS[sampler]:
        assert LIMITS[option.name] == (option.low, option.high)
        changed = replace(settings, **{option.name: option.high})
        assert changed.checked().options[option.name] == option.high


def test_an_option_is_the_same_in_every_sampler_that_takes_it() -> None:
    for options in OPTIONS.values():
        for option in options:
            usual = EVERY_OPTION[option.name]  # defaults may differ
            assert replace(option, default=usual.default) == usual
            assert option.low <= option.default <= option.high


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", EVERY_OPTION)
def test_an_option_without_effect_is_refused_and_says_who_takes_it(sampler: str, name: str) -> None:
    option = EVERY_OPTION[name]
    settings = Settings(sampler=sampler, **{name: option.high})  # type: ignore[arg-type]
    if sampler in takers(name):
        assert getattr(settings.checked(), name) == option.high
    else:
        with pytest.raises(InputError, match=takers(name)[0]) as caught:
            settings.checked()
        assert caught.value.parameter == name


def test_memory_grows_with_the_picture_and_the_batch() -> None:
    one = memory_needed(SD1, 512, 512)
    assert 0.3e9 < one < 5e9
    assert memory_needed(SD1, 1024, 1024) == 4 * one
    assert memory_needed(SD1, 512, 512, 64) > one


@pytest.mark.parametrize(
    ("size", "words"), [(12, "12 bytes"), (1.5e9, "1.5 GB"), (2.46e12, "2.46 TB"), (1e6, "1 MB")]
)
def test_amounts_in_words(size: float, words: str) -> None:
    assert amount(size) == words


def test_settings_need_no_torch() -> None:
    code = "import sdwidgets.settings, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
