"""Models and LoRAs that were distilled to a few steps: how they are known, and their defaults."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import (
    SMALL,
    edit_json,
    write_folder,
    write_header,
)
from lora_files import attention_of, kohya, named, write
from published import shapes_of

import sdwidgets as sdw
from sdwidgets import configs
from sdwidgets.checkpoints import few_steps
from sdwidgets.checkpoints.describe import inspect
from sdwidgets.checkpoints.layout import Layout
from sdwidgets.checkpoints.parts import Elsewhere
from sdwidgets.checkpoints.prediction import settled
from sdwidgets.checkpoints.single_file import open_file
from sdwidgets.configs import SD1, SDXL, ModelConfig
from sdwidgets.errors import CheckpointError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sampling import SAMPLERS, SCHEDULES

Defaults = tuple[int, str, str, float]


def defaults(config: ModelConfig) -> Defaults:
    return config.steps, config.sampler, config.schedule_name, config.guidance_scale


USUAL = defaults(SD1)


# ----------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "title", "steps", "sampler", "guidance"),
    [
        ("sd_turbo", "Turbo", 4, "euler", 1),
        ("sd_xl_turbo_1.0_fp16", "Turbo", 4, "euler_ancestral", 1),
        ("DreamShaperXL_Turbo_v2", "Turbo", 4, "euler_ancestral", 1),
        ("sdxl_lightning_4step", "Lightning", 4, "euler", 1),
        ("sdxl_lightning_2step_unet", "Lightning", 2, "euler", 1),
        ("juggernautXL_v9Rdphoto2Lightning", "Lightning", 4, "euler", 1),
        ("realvisxlV40_v40LightningBakedvae", "Lightning", 4, "euler", 1),
        ("LCM_Dreamshaper_v7", "LCM", 4, "lcm", 1),
        ("dreamshaper_8LCM", "LCM", 4, "lcm", 1),
        ("Hyper-SD15-8steps", "Hyper-SD", 8, "ddim", 1),
        ("Hyper-SDXL-1step-Unet", "Hyper-SD", 1, "tcd", 1),
        ("dmd2_sdxl_4step_unet_fp16", "DMD2", 4, "lcm", 1),
    ],
)
def test_names_of_models(name: str, title: str, steps: int, sampler: str, guidance: float) -> None:
    is_xl = "xl" in name.lower() or "Hyper-SDXL" in name
    found = few_steps.of_name(name, (SDXL if is_xl else SD1).unet)
    assert found is not None
    assert (found.title, found.steps, found.sampler) == (title, steps, sampler)
    assert found.guidance_scale == guidance and not found.is_certain


@pytest.mark.parametrize(
    ("name", "title", "steps", "guidance"),
    [
        ("lcm-lora-sdv1-5", "LCM", 4, 1),
        ("LCM_LoRA_Weights_SD15", "LCM", 4, 1),
        ("sdxl_lightning_8step_lora", "Lightning", 8, 1),
        ("Hyper-SD15-2steps-lora", "Hyper-SD", 2, 1),
        ("Hyper-SDXL-12steps-CFG-lora", "Hyper-SD", 12, 5),
        ("TCD-SD15-LoRA", "TCD", 4, 1),
        ("sd_xl_turbo_lora_v1", "Turbo", 4, 1),
        ("dmd2_sdxl_4step_lora", "DMD2", 4, 1),
    ],
)
def test_names_of_loras(name: str, title: str, steps: int, guidance: float) -> None:
    found = few_steps.of_name(name, SD1.unet, addition=True)
    assert found is not None
    assert (found.title, found.steps, found.guidance_scale) == (title, steps, guidance)


@pytest.mark.parametrize(
    "name",
    [
        "v1-5-pruned-emaonly", "sd_xl_base_1.0", "hyperrealism_v2", "film_grain_8_steps",
        "turbofan", "calcm", "tcdx",
    ],
)  # fmt: skip
def test_other_names_tell_nothing(name: str) -> None:
    assert few_steps.of_name(name, SDXL.unet) is None
    assert few_steps.of_name(name, SDXL.unet, addition=True) is None


@pytest.mark.parametrize("name", ["porsche_911_turbo", "lightning_in_the_sky", "hyper_detail"])
def test_a_lora_of_a_car_or_of_the_weather_is_none_for_few_steps(name: str) -> None:
    assert few_steps.of_name(name, SDXL.unet, addition=True) is None


def test_every_method_has_a_sampler_and_a_grid_that_are_known() -> None:
    for kind in few_steps._KINDS:
        assert kind.few.sampler in SAMPLERS and kind.few.schedule in SCHEDULES
    for config in (configs.LCM, configs.SD_TURBO, configs.SDXL_TURBO):
        assert sdw.Settings().checked(config).steps == 4


# ---------------------------------------------------------------------------------- single files


def opened(path: Path) -> Layout:
    with ExitStack() as stack:
        return settled(open_file(path, stack), None)


def header(path: Path, config: ModelConfig = SDXL, layout: Any = "sgm", **metadata: str) -> Path:
    return write_header(path, shapes_of(config, layout), "F8_E4M3", **metadata)


def test_a_file_is_told_by_its_name_and_says_so(tmp_path: Path) -> None:
    layout = opened(header(tmp_path / "sdxl_lightning_2step.safetensors"))
    assert defaults(layout.config) == (2, "euler", "trailing", 1)
    (notice,) = (each for each in layout.notices if "few steps" in each)
    assert "sdxl_lightning_2step.safetensors is made for few steps (Lightning: its name" in notice
    assert "2 steps of euler and no guidance are the default" in notice


def test_only_defaults_follow_from_a_name(tmp_path: Path) -> None:
    plain = opened(header(tmp_path / "model.safetensors")).config
    config = opened(header(tmp_path / "sdxl_lightning_2step.safetensors")).config
    names = ("steps", "sampler", "schedule_name", "guidance_scale", "name")
    own = {name: getattr(plain, name) for name in names}
    assert defaults(plain) != defaults(config)
    assert replace(config, **own) == plain


def test_xl_turbo_makes_small_images(tmp_path: Path) -> None:
    config = opened(header(tmp_path / "sd_xl_turbo_1.0.safetensors")).config
    assert config.size == configs.SDXL_TURBO.size == 512
    assert defaults(config) == defaults(configs.SDXL_TURBO)
    assert opened(header(tmp_path / "artXL_turbo.safetensors")).config.size == 1024


def test_metadata_count_before_the_name(tmp_path: Path) -> None:
    path = header(tmp_path / "turbo.safetensors", **{"modelspec.title": "My XL Lightning 8 steps"})
    found = opened(path)
    assert defaults(found.config) == (8, "euler", "trailing", 1)
    assert found.few_steps is not None and "modelspec.title" in found.few_steps.decided


def test_a_network_that_is_told_its_guidance_is_an_lcm_whatever_its_name(tmp_path: Path) -> None:
    found = opened(header(tmp_path / "lightning.safetensors", configs.LCM, "diffusers"))
    assert defaults(found.config) == (4, "lcm", "default", 8.5)
    assert found.few_steps is not None and found.few_steps.is_certain
    assert not any("few steps" in notice for notice in found.notices)


def test_a_config_of_the_callers_decides_alone(tmp_path: Path) -> None:
    path = header(tmp_path / "sdxl_lightning_4step.safetensors")
    with ExitStack() as stack:
        layout = open_file(path, stack, config=SDXL)
    assert layout.few_steps is None and defaults(layout.config) == defaults(SDXL)


def test_a_network_alone_gets_its_defaults_over_any_base(tmp_path: Path) -> None:
    base = header(tmp_path / "base.safetensors")
    start = "model.diffusion_model."
    shapes = {name: shape for name, shape in shapes_of(SDXL, "sgm").items() if start in name}
    path = write_header(tmp_path / "sdxl_lightning_8step_unet.safetensors", shapes, "F8_E4M3")
    with ExitStack() as stack:
        layout = open_file(path, stack, elsewhere=Elsewhere(base, (base,)))
    assert defaults(layout.config) == (8, "euler", "trailing", 1)


# --------------------------------------------------------------------------------------- folders


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as others write it, without our notes."""
    folder = write_folder(tmp_path_factory.mktemp("template") / "model")
    edit_json(folder / "model_index.json", _sdwidgets=None)
    index = json.loads((folder / "model_index.json").read_text())
    del index["_sdwidgets"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def loaded(template: Path, folder: Path, scheduler: str | None = None) -> LatentDiffusion:
    shutil.copytree(template, folder)
    if scheduler:
        edit_json(folder / "scheduler" / "scheduler_config.json", _class_name=scheduler)
        edit_json(folder / "model_index.json", scheduler=["diffusers", scheduler])
    return sdw.load(folder, device="cpu")


@pytest.mark.parametrize(
    ("scheduler", "sampler"), [("LCMScheduler", "lcm"), ("TCDScheduler", "tcd")]
)
def test_a_folders_scheduler_tells(
    template: Path, tmp_path: Path, scheduler: str, sampler: str
) -> None:
    model = loaded(template, tmp_path / "model", scheduler)
    assert defaults(model.config) == (4, sampler, "default", 1)
    assert model.config.schedule.spacing == "lcm" and model.notices == ()
    run = model.sample("a cat", seed=1)
    assert (len(run), run.settings.sampler, run.settings.schedule) == (4, sampler, "config")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_folders_name_tells(template: Path, tmp_path: Path) -> None:
    model = loaded(template, tmp_path / "dreamshaper-8-lcm")
    assert defaults(model.config) == (4, "lcm", "trailing", 1)
    assert "its name says so" in model.notices[0]
    assert defaults(loaded(template, tmp_path / "dreamshaper-8").config) == USUAL


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "sampler", "scheduler"),
    [
        ("x-lcm", "lcm", "LCMScheduler"),
        ("sd-turbo", "euler", "EulerDiscreteScheduler"),
        ("x-tcd", "tcd", "TCDScheduler"),
    ],
)
def test_a_saved_model_keeps_its_defaults_and_tells_diffusers(
    template: Path, tmp_path: Path, name: str, sampler: str, scheduler: str
) -> None:
    model = loaded(template, tmp_path / name)
    assert model.config.sampler == sampler
    saved = sdw.save(model, tmp_path / "saved")
    written = json.loads((saved / "scheduler" / "scheduler_config.json").read_text())
    assert written["_class_name"] == scheduler
    assert written["timestep_spacing"] == "trailing"
    assert json.loads((saved / "model_index.json").read_text())["scheduler"][1] == scheduler
    again = sdw.load(saved, device="cpu")
    assert defaults(again.config) == defaults(model.config)
    assert again.notices == ()


def test_a_folder_of_ours_is_believed_and_not_its_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "not-a-turbo")
    assert defaults(sdw.load(folder, device="cpu").config) == defaults(SMALL)


@pytest.mark.parametrize(
    "notes", [{"steps": 0}, {"steps": "4"}, {"sampler": "magic"}, {"schedule": ["karras"]}]
)
def test_notes_out_of_bounds_are_refused(tmp_path: Path, notes: dict[str, Any]) -> None:
    folder = write_folder(tmp_path / "model")
    edit_json(folder / "model_index.json", _sdwidgets={"steps": 4, **notes})
    with pytest.raises(CheckpointError, match=next(iter(notes))):
        sdw.load(folder, device="cpu")


# ----------------------------------------------------------------------------------------- LoRAs


def lora(model: LatentDiffusion, path: Path, **metadata: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    factors = named(model.unet, attention_of(model.unet)[:2], kohya("lora_unet_"))
    return write(factors, path, **metadata)


def test_a_lora_for_few_steps_changes_the_models_defaults(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    path = lora(tiny_model, tmp_path / "lcm-lora-sdv1-5.safetensors")
    model = tiny_model.with_lora(path)
    assert defaults(model.config) == (4, "lcm", "trailing", 1)
    assert replace(model.config, **vars_of(tiny_model.config)) == tiny_model.config
    assert "lcm-lora-sdv1-5.safetensors is made for few steps (LCM" in model.notices[-1]
    run = model.sample("a cat", seed=1)
    assert (len(run), run.settings.sampler, run.settings.guidance_scale) == (4, "lcm", 1)
    assert model.without_lora(path.name) is tiny_model


def vars_of(config: ModelConfig) -> dict[str, Any]:
    names = ("steps", "sampler", "schedule_name", "guidance_scale")
    return {name: getattr(config, name) for name in names}


def test_a_lora_without_strength_changes_no_defaults(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    path = lora(tiny_model, tmp_path / "lcm-lora.safetensors")
    for strength in (0, -1):
        model = tiny_model.with_lora(path, strength)
        assert model.config == tiny_model.config and model.notices == tiny_model.notices


def test_of_several_loras_the_last_decides_until_it_is_taken_away(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    first = lora(tiny_model, tmp_path / "sdxl_lightning_8step_lora.safetensors")
    last = lora(tiny_model, tmp_path / "tcd.safetensors")
    style = lora(tiny_model, tmp_path / "style.safetensors")
    model = tiny_model.with_loras([first, last, style])
    assert defaults(model.config) == (4, "tcd", "trailing", 1)
    assert sum("few steps" in notice for notice in model.notices) == 1
    model = model.without_lora("tcd")
    assert defaults(model.config) == (8, "euler", "trailing", 1)
    model = model.without_lora(first.name)
    assert model.config == tiny_model.config and len(model.loras) == 1


def test_a_model_derived_from_one_with_such_a_lora_keeps_its_defaults(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    model = tiny_model.with_lora(lora(tiny_model, tmp_path / "lcm-lora.safetensors"))
    other = sdw.LatentDiffusion.with_autoencoder(
        model, type(model.autoencoder)(model.config.autoencoder).requires_grad_(False)
    )
    assert defaults(other.config) == defaults(model.config)
    assert defaults(other.without_lora().config) == defaults(tiny_model.config)


def test_a_lora_with_every_files_name_is_told_by_its_folder(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    file = "pytorch_lora_weights.safetensors"
    path = lora(tiny_model, tmp_path / "lcm-lora-sdxl" / file)
    assert tiny_model.with_lora(path).config.sampler == "lcm"
    assert tiny_model.with_lora(path.parent).config.sampler == "lcm"
    cached = tmp_path / "models--h1t--TCD-SD15-LoRA" / "snapshots" / ("0" * 40) / file
    assert tiny_model.with_lora(lora(tiny_model, cached)).config.sampler == "tcd"


def test_a_loras_metadata_tell(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    path = lora(tiny_model, tmp_path / "fast.safetensors", ss_output_name="my_lcm_lora")
    model = tiny_model.with_lora(path)
    assert model.config.sampler == "lcm" and "ss_output_name" in model.notices[-1]


# --------------------------------------------------------------------------------------- inspect


def test_inspect_says_for_how_many_steps_a_file_is(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    found = inspect(header(tmp_path / "sdxl_lightning_2step.safetensors"))
    assert found.few_steps == "2, euler, guidance 1 (its name says so)"
    assert "few steps: 2, euler, guidance 1" in str(found) and "few steps: 2" in found.line
    assert inspect(header(tmp_path / "model.safetensors")).few_steps == ""
    added = inspect(lora(tiny_model, tmp_path / "lcm-lora.safetensors"))
    assert added.few_steps == "4, lcm, guidance 1 (its name says so)"
    assert "few steps: 4, lcm" in added.line
