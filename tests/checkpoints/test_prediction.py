"""What a checkpoint predicts: from the caller, configs, marks and weights; never a silent guess."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import (
    SMALL,
    compvis_tensors,
    edit_json,
    networks,
    save_tensors,
    write_folder,
    write_tokenizer,
)
from safetensors.torch import load_file
from torch import Tensor

from sdwidgets.checkpoints import few_steps, load, load_model, names, save_model
from sdwidgets.checkpoints.layout import Layout, Weights
from sdwidgets.checkpoints.prediction import settled
from sdwidgets.checkpoints.weights import WeightFile
from sdwidgets.configs import (
    SD1,
    SD2,
    SD2_DEPTH,
    SD2_INPAINTING,
    SD_TURBO,
    SDXL,
    X4_UPSCALER,
    ModelConfig,
    PredictionSource,
)
from sdwidgets.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("error::UserWarning")

UNET = "unet/diffusion_pytorch_model.safetensors"
LAST = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
EMPTY = torch.zeros(0)


@pytest.fixture
def laid_out(tmp_path: Path) -> Iterator[Any]:
    """Return the layout of a single file of a published family, with few tensors."""
    with ExitStack() as stack:

        def make(
            config: ModelConfig = SD2,
            source: PredictionSource = "family",
            tensors: dict[str, Tensor] | None = None,
            **metadata: str,
        ) -> Layout:
            whole = {"x": torch.zeros(1), **(tensors or {})}
            file = WeightFile(save_tensors(whole, tmp_path / "model.safetensors", **metadata))
            stack.enter_context(file)
            weights = Weights([file], names.compvis_unet_names(config.unet))
            few = few_steps.of_file(Path("x"), {}, config, like_turbo=config is SD_TURBO)
            return Layout(
                file.path, config, (weights,), (), False, prediction_source=source, few_steps=few
            )

        yield make


def decided(layout: Layout, wanted: Any = None) -> tuple[str, str]:
    result = settled(layout, wanted)
    return result.config.schedule.prediction, result.prediction_source


@pytest.mark.parametrize(
    ("tensors", "metadata", "prediction"),
    [
        ({"v_pred": EMPTY}, {}, "v"),
        ({}, {"modelspec.prediction_type": "epsilon"}, "eps"),
        ({}, {"modelspec.prediction_type": "v"}, "v"),
        ({}, {"modelspec.prediction_type": "v_prediction"}, "v"),
        ({}, {"modelspec.predict_key": "v"}, "v"),
        ({}, {"modelspec.architecture": "stable-diffusion-v2-512"}, "eps"),
        ({}, {"modelspec.architecture": "stable-diffusion-v2-768-v"}, "v"),
        ({}, {"ss_base_model_version": "sd_v2_v"}, "v"),
        ({}, {"ss_base_model_version": "sd_v2"}, "eps"),
        ({"v_pred": EMPTY}, {"modelspec.predict_key": "v"}, "v"),
    ],
)
@pytest.mark.parametrize("config", [SD1, SD2], ids=["sd1", "sd2"])
def test_marks_in_the_file_decide(
    laid_out: Any, config: ModelConfig, tensors: Any, metadata: Any, prediction: str
) -> None:
    layout = settled(laid_out(config, tensors=tensors, **metadata), None)
    assert layout.config.schedule.prediction == prediction
    assert (layout.prediction_source, layout.notices) == ("file", ())


@pytest.mark.parametrize(
    ("text", "prediction"),
    [
        ('model:\n  params:\n    parameterization: "v"\n', "v"),
        ("model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params: {}\n", "eps"),
        ("model:\n  params:\n    parameterization: eps # comment\n", "eps"),
        ("scaling_config:\n  target: sgm.modules.diffusionmodules.denoiser_scaling.VScaling", "v"),
        (
            "scaling_config:\n  target: sgm.modules.diffusionmodules.denoiser_scaling.EpsScaling",
            "eps",
        ),
    ],
)
def test_a_yaml_of_the_same_name_decides(laid_out: Any, text: str, prediction: str) -> None:
    layout = laid_out(SD1)
    layout.path.with_suffix(".yaml").write_text(text)
    assert decided(layout) == (prediction, "config")


@pytest.mark.parametrize("text", [None, "a: b", "\0" * 10])
def test_a_yaml_of_something_else_decides_nothing(laid_out: Any, text: str | None) -> None:
    layout = laid_out(SD1)
    yaml = layout.path.with_suffix(".yaml")
    yaml.write_text(text) if text is not None else yaml.mkdir()
    assert decided(layout) == ("eps", "family")


@pytest.mark.parametrize(("spread", "prediction", "size"), [(0.2, "v", 768), (0.03, "eps", 512)])
def test_the_weights_of_a_stable_diffusion_2_tell_with_a_notice(
    laid_out: Any, spread: float, prediction: str, size: int
) -> None:
    bias = torch.linspace(-1.7, 1.7, 320) * spread
    layout = settled(laid_out(tensors={LAST: bias}), None)
    assert layout.config.schedule.prediction == prediction and layout.config.size == size
    assert layout.prediction_source == "file"
    other = {"v": "eps", "eps": "v"}[prediction]
    assert f"weights look like {prediction}" in layout.notices[0]
    assert f"prediction='{other}'" in layout.notices[0]


def test_without_any_sign_a_stable_diffusion_2_is_assumed_to_predict_v(laid_out: Any) -> None:
    layout = settled(laid_out(), None)
    assert (layout.config.schedule.prediction, layout.prediction_source) == ("v", "family")
    assert "v-prediction was assumed" in layout.notices[0]
    assert "prediction='eps'" in layout.notices[0]


def test_a_stable_diffusion_1_predicts_eps_without_a_notice(laid_out: Any) -> None:
    layout = settled(laid_out(SD1), None)
    assert (layout.config.schedule.prediction, layout.prediction_source) == ("eps", "family")
    assert layout.notices == ()


def test_the_caller_decides(laid_out: Any) -> None:
    layout = settled(laid_out(), "eps")
    assert (layout.config.schedule.prediction, layout.prediction_source) == ("eps", "caller")
    assert layout.config.size == 512 and layout.notices == ()
    marked = settled(laid_out(tensors={"v_pred": EMPTY}), "eps")
    assert marked.config.schedule.prediction == "eps"
    assert "its mark 'v_pred' says v" in marked.notices[0]


def test_a_config_against_the_look_of_the_weights_has_a_notice(laid_out: Any) -> None:
    eps = replace(SD2, schedule=replace(SD2.schedule, prediction="eps"))
    bias = torch.linspace(-1, 1, 320)
    layout = settled(laid_out(eps, "config", {LAST: bias}), None)
    assert (layout.config.schedule.prediction, layout.prediction_source) == ("eps", "config")
    assert "weights look like v" in layout.notices[0]


@pytest.mark.parametrize(
    ("source", "tensors", "metadata"),
    [
        ("family", {"v_pred": EMPTY}, {"modelspec.prediction_type": "epsilon"}),
        ("config", {"v_pred": EMPTY}, {}),
        ("caller", {}, {"modelspec.predict_key": "v"}),
    ],
)
def test_two_answers_are_refused_until_the_caller_decides(
    laid_out: Any, source: Any, tensors: Any, metadata: Any
) -> None:
    layout = laid_out(SD1, source, tensors, **metadata)
    with pytest.raises(CheckpointError, match=r"in doubt(.|\n)*prediction='(v|eps)'") as caught:
        settled(layout, None)
    assert len(str(caught.value).splitlines()) <= 3
    assert decided(layout, "v") == ("v", "caller")


@pytest.mark.parametrize(
    ("tensors", "metadata", "what"),
    [
        ({"edm_mean": torch.zeros(4)}, {}, "EDM.*Playground"),
        ({"edm_std": torch.zeros(4)}, {}, "EDM.*Playground"),
        ({"edm_vpred.sigma_max": torch.tensor(120.0)}, {}, "EDM.*CosXL"),
        ({"edm_vpred.sigma_min": torch.tensor(0.002)}, {}, "EDM.*CosXL"),
        ({}, {"modelspec.prediction_type": "edm"}, "does not know"),
    ],
)
def test_noise_that_the_kit_does_not_have_is_refused(
    laid_out: Any, tensors: Any, metadata: Any, what: str
) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        settled(laid_out(SD1, tensors=tensors, **metadata), None)
    assert len(str(caught.value).splitlines()) <= 3


# --------------------------------------------------------------------- the family's usual choice


@pytest.mark.parametrize(
    ("config", "prediction"),
    [(SD1, "eps"), (SDXL, "eps"), (SD2_INPAINTING, "eps"), (SD2_DEPTH, "eps"), (X4_UPSCALER, "v")],
    ids=["sd1", "sdxl", "sd2-inpainting", "sd2-depth", "x4"],
)
def test_without_any_sign_the_family_decides_and_that_is_said_once(
    laid_out: Any, config: ModelConfig, prediction: str
) -> None:
    spread = {LAST: torch.linspace(-1, 1, 320)}  # as in v-networks of Stable Diffusion 2
    layout = settled(laid_out(config, tensors=spread), None)
    assert layout.config.schedule.prediction == prediction
    assert (layout.prediction_source, layout.config.size) == ("family", config.size)
    (said,) = layout.said
    assert f"{prediction} was assumed, as in Stable Diffusion" in said
    assert f"prediction='{'v' if prediction == 'eps' else 'eps'}'" in said
    assert layout.notices == ()


@pytest.mark.parametrize(("spread", "guidance"), [(0.2, SD2.guidance_scale), (0.03, 1.0)])
def test_an_sd_turbo_predicts_eps(laid_out: Any, spread: float, guidance: float) -> None:
    bias = torch.linspace(-1.7, 1.7, 320) * spread
    layout = settled(laid_out(SD_TURBO, tensors={LAST: bias}), None)
    assert layout.config.guidance_scale == guidance
    usual = guidance == SD2.guidance_scale
    assert layout.config.steps == (SD2.steps if usual else SD_TURBO.steps)
    assert any("made for few steps" in notice for notice in layout.notices) is not usual


# ------------------------------------------------------------------------------ zero terminal SNR


@pytest.mark.parametrize(
    ("tensors", "metadata", "yaml", "zero"),
    [
        ({"ztsnr": EMPTY}, {}, "", True),
        ({}, {"ss_zero_terminal_snr": "True"}, "", True),
        ({}, {"ss_zero_terminal_snr": "False"}, "", False),
        ({}, {}, "model:\n  params:\n    zero_terminal_snr: true\n", True),
        ({}, {}, "model:\n  params:\n    zero_terminal_snr: false\n", False),
        ({"alphas_cumprod": torch.linspace(1, 0, 1000)}, {}, "", True),
        ({"alphas_cumprod": torch.linspace(1, 0.0047, 1000).half()}, {}, "", False),
        ({}, {}, "", False),
    ],
)
def test_whether_noise_ends_in_pure_noise(
    laid_out: Any, tensors: Any, metadata: Any, yaml: str, zero: bool
) -> None:
    layout = laid_out(SDXL, tensors={"v_pred": EMPTY, **tensors}, **metadata)
    if yaml:
        layout.path.with_suffix(".yaml").write_text(yaml)
    found = settled(layout, None)
    assert (found.config.schedule.zero_snr, found.notices) == (zero, ())
    assert found.config.schedule.prediction == "v"


def test_the_caller_decides_about_pure_noise(laid_out: Any) -> None:
    marked = laid_out(SDXL, tensors={"v_pred": EMPTY, "ztsnr": EMPTY})
    layout = settled(marked, None, False)
    assert not layout.config.schedule.zero_snr
    assert "'ztsnr' says" in layout.notices[0]
    assert settled(laid_out(SDXL), "v", True).config.schedule.zero_snr


def test_pure_noise_and_eps_do_not_go_together(laid_out: Any) -> None:
    layout = settled(laid_out(SD1, tensors={"ztsnr": EMPTY}), None)
    assert layout.config.schedule.zero_snr
    assert "prediction='v'" in layout.notices[0]


def test_a_mark_against_a_config_has_a_notice(laid_out: Any) -> None:
    layout = settled(laid_out(SD1, "config", {"ztsnr": EMPTY}), "v")
    assert layout.config.schedule.zero_snr
    assert "unlike its config" in layout.notices[0] and "zero_snr=False" in layout.notices[0]


# ------------------------------------------------------------------------------------- in the wild


def test_an_easyfluff_is_told_by_its_yaml(laid_out: Any) -> None:
    layout = laid_out(SD1)
    layout.path.with_suffix(".yaml").write_text(
        "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n"
        "    parameterization: v\n"
    )
    assert decided(layout) == ("v", "config")


def test_a_noobai_is_told_by_its_marks(laid_out: Any) -> None:
    layout = settled(laid_out(SDXL, tensors={"v_pred": EMPTY, "ztsnr": EMPTY}), None)
    schedule = layout.config.schedule
    assert (schedule.prediction, schedule.zero_snr) == ("v", True)
    assert (layout.prediction_source, layout.notices, layout.said) == ("file", (), ())


# ---------------------------------------------------------------------------------- through load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model")


def test_a_marked_file_is_loaded_as_marked(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    tensors = {**compvis_tensors(networks(), SMALL), "v_pred": EMPTY}
    path = save_tensors(tensors, tmp_path / "one.safetensors")
    v = replace(SMALL, schedule=replace(SMALL.schedule, prediction="v"))
    with pytest.raises(CheckpointError, match="in doubt"):
        load_model(path, config=SMALL, device="cpu")
    with pytest.warns(UserWarning, match="all of them usual"):  # the mark itself
        model = load_model(path, config=v, device="cpu")
    assert (model.prediction, model.prediction_source) == ("v", "caller")


def test_a_saved_network_keeps_its_prediction_when_configs_are_mixed_up(
    folder: Path, tmp_path: Path
) -> None:
    saved = save_model(load_model(folder, device="cpu"), tmp_path / "saved")
    assert load_model(saved, device="cpu").prediction == "eps"
    edit_json(saved / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    with pytest.raises(CheckpointError, match=r"the config says v, its modelspec.* says eps"):
        load_model(saved, device="cpu")
    with pytest.warns(UserWarning, match="modelspec"):
        assert load_model(saved, device="cpu", prediction="v").prediction == "v"


def bundled(tmp_path: Path) -> Path:
    return Path(shutil.copytree(load.BUNDLED / "emoji", tmp_path / "emoji"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_bundled_weights_with_another_config_are_refused(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    folder = bundled(tmp_path)
    tensors = {name: t.to(dtype) for name, t in load_file(folder / UNET).items()}
    save_tensors(tensors, folder / UNET)
    assert load_model(folder, device="cpu").prediction == "v"
    scheduler = folder / "scheduler" / "scheduler_config.json"
    edit_json(scheduler, prediction_type="epsilon")
    with pytest.raises(CheckpointError, match="the bundled model, whose weights it has, says v"):
        load_model(folder, device="cpu")
    edit_json(scheduler, prediction_type="v_prediction", beta_end=0.012)
    with pytest.raises(CheckpointError, match=r"noise of another(.|\n)*0\.0195"):
        load_model(folder, device="cpu")


def test_a_network_of_the_bundled_shape_may_predict_anything(tmp_path: Path) -> None:
    folder = bundled(tmp_path)
    tensors = {name: t + 0.1 for name, t in load_file(folder / UNET).items()}
    save_tensors(tensors, folder / UNET)
    edit_json(folder / "scheduler" / "scheduler_config.json", prediction_type="epsilon")
    assert load_model(folder, device="cpu").prediction == "eps"


def test_doubts_are_told_first_and_singly_and_stand_in_every_run(
    folder: Path, tmp_path: Path
) -> None:
    saved = save_model(load_model(folder, device="cpu"), tmp_path / "saved")
    tensors = load_file(saved / UNET)
    strange = {"betas": torch.zeros(3), "posterior_variance": torch.zeros(3), "odd": torch.zeros(2)}
    tensors["conv_in.bias"] = tensors["conv_in.bias"].double()
    save_tensors({**tensors, **strange, "v_pred": EMPTY}, saved / UNET)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_model(saved, device="cpu", prediction="eps")
    told = [str(w.message) for w in caught if w.category is UserWarning]
    assert [("v_pred" in text, "float64" in text, "left out" in text) for text in told] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert "4 tensors" in told[2] and "1 of them unknown, such as 'odd'" in told[2]
    assert model.notices == tuple(told[:2])
    assert model.sample("", steps=1, seed=0).notices[:2] == model.notices
