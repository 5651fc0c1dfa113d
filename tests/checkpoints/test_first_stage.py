"""Single autoencoders: the nine published ones are recognised by shape and loaded strictly."""

from __future__ import annotations

import pickle
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import (
    SMALL,
    compvis_tensors,
    networks,
    save_tensors,
    write_folder,
    write_header,
)
from first_stages import PUBLISHED, Reference, random_tensors, small, tensors_of
from published import shapes_of
from references import relative_error
from small_autoencoders import small_first_stage
from torch import Tensor

from sdwidgets.checkpoints import (
    first_stage,
    load_autoencoder,
    load_model,
    save,
    save_autoencoder,
    save_model,
)
from sdwidgets.checkpoints.infer import infer_autoencoder
from sdwidgets.configs import FIRST_STAGES, SD1, SDXL, X4_UPSCALER, AutoencoderConfig
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError, SDWidgetsError
from sdwidgets.models.autoencoder import Autoencoder

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # notices only where expected
NINE = pytest.mark.parametrize("name", FIRST_STAGES)


def written(name: str, path: Path, **more: Tensor) -> Path:
    """Write a small first stage of that kind, with CompVis's names."""
    extra = {key.replace("/", "."): tensor for key, tensor in more.items()}
    return save_tensors({**random_tensors(small(PUBLISHED[name])), **extra}, path)


def loaded(path: Path, config: Any = None, **options: Any) -> Autoencoder:
    return load_autoencoder(path, config, device="cpu", **options)


def refused(path: Path, config: Any = None, error: type[SDWidgetsError] = CheckpointError) -> str:
    with pytest.raises(error) as caught:
        loaded(path, config)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    return message


# -------------------------------------------------------------------------------------- valid files


@NINE
def test_the_nine_are_known_by_their_shapes(name: str) -> None:
    config = infer_autoencoder(tensors_of(PUBLISHED[name]), "")
    assert first_stage.name_of(config) == name


@NINE
def test_the_nine_are_known_by_diffusers_names(name: str) -> None:
    with torch.device("meta"):
        state = Autoencoder(FIRST_STAGES[name]).state_dict()
    shapes = {f"vae.{name}": tuple(tensor.shape) for name, tensor in state.items()}
    assert first_stage.name_of(infer_autoencoder(shapes, "vae.")) == name


def test_a_scale_does_not_change_the_name() -> None:
    assert first_stage.name_of(replace(FIRST_STAGES["VQ-f4"], scaling_factor=0.5)) == "VQ-f4"
    assert first_stage.name_of(replace(FIRST_STAGES["VQ-f4"], codes=7)) is None


@NINE
@torch.no_grad()
def test_a_published_file_gives_the_published_pictures(name: str, tmp_path: Path) -> None:
    config = small_first_stage(name)
    autoencoder = loaded(written(name, tmp_path / "model.safetensors"), config)
    assert autoencoder.config == config and not autoencoder.training
    assert not any(p.requires_grad for p in autoencoder.parameters())
    reference = Reference(small(PUBLISHED[name]), random_tensors(small(PUBLISHED[name])))
    image = torch.rand(1, 3, config.factor, 2 * config.factor) * 2 - 1
    z = reference.moments(image)
    z = reference.quantised(z)[0] if config.codes else z.chunk(2, dim=1)[0]
    assert relative_error(autoencoder(image), reference.decoded(z)) < 1e-4


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the nine small, so that files of a few kilobytes can be recognised."""
    for name in ("KL-f4", "VQ-f4", "VQ-f4-noattn"):
        preset = replace(small_first_stage(name), norm_groups=32)  # shapes do not tell them
        monkeypatch.setitem(FIRST_STAGES, name, preset)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", ["KL-f4", "VQ-f4", "VQ-f4-noattn"])
def test_a_file_is_recognised(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(name, tmp_path / "model.safetensors")
    seen = []

    def assemble(path: Path, config: AutoencoderConfig, *rest: Any) -> Any:
        seen.append(config)
        return None, []

    monkeypatch.setattr(first_stage, "_assemble", assemble)
    loaded(path)
    assert seen == [FIRST_STAGES[name]]


@pytest.fixture
def kl_f8(monkeypatch: pytest.MonkeyPatch) -> AutoencoderConfig:
    """Make the autoencoder of Stable Diffusion 1, and that of XL, small."""
    preset = replace(small_first_stage("KL-f8"), norm_groups=8, scaling_factor=0.18215)
    xl = replace(SDXL, autoencoder=replace(preset, scaling_factor=0.13025))
    monkeypatch.setitem(FIRST_STAGES, "KL-f8", preset)
    monkeypatch.setattr(first_stage, "SDXL", xl)
    # shapes do not tell the groups, which are 32 in published files
    recognised = first_stage.infer.infer_autoencoder
    monkeypatch.setattr(
        first_stage.infer,
        "infer_autoencoder",
        lambda *a: replace(recognised(*a), norm_groups=8),
    )
    return preset


def with_prefix(prefix: str, path: Path, *others: str, **metadata: str) -> Path:
    tensors = random_tensors(small(PUBLISHED["KL-f8"]))
    whole = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    return save_tensors(whole | dict.fromkeys(others, torch.zeros(1)), path, **metadata)


def test_a_scale_that_no_file_tells_is_assumed_with_a_notice(
    kl_f8: AutoencoderConfig, tmp_path: Path
) -> None:
    path = with_prefix("", tmp_path / "sdxl_vae.safetensors")
    with pytest.warns(UserWarning, match=r"0\.18215 was assumed.*SDXL\.autoencoder.*'KL-f8'"):
        assert loaded(path).config.scaling_factor == 0.18215
    assert loaded(path, "KL-f8").config == kl_f8
    xl = first_stage.SDXL.autoencoder
    assert loaded(path, xl).config.scaling_factor == 0.13025


@pytest.mark.parametrize(
    ("prefix", "others", "metadata", "scale"),
    [
        ("first_stage_model.", ["conditioner.embedders.1.model.ln_final.weight"], {}, 0.13025),
        ("first_stage_model.", ["cond_stage_model.transformer.x"], {}, 0.18215),
        ("vae.", ["text_encoder_2.x", "unet.conv_in.bias"], {}, 0.13025),
        ("vae.", ["text_encoder.x"], {}, 0.18215),
        ("", [], {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"}, 0.13025),
        ("", [], {"modelspec.architecture": "stable-diffusion-v1/vae"}, 0.18215),
    ],
)
@pytest.mark.usefixtures("kl_f8")
def test_the_scale_is_that_of_the_family(
    prefix: str, others: list[str], metadata: dict[str, str], scale: float, tmp_path: Path
) -> None:
    path = with_prefix(prefix, tmp_path / "model.safetensors", *others, **metadata)
    assert loaded(path).config.scaling_factor == scale


def test_a_name_stands_for_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_first_stage("VQ-f4")
    monkeypatch.setitem(FIRST_STAGES, "VQ-f4", config)
    path = written("VQ-f4", tmp_path / "model.safetensors")
    assert loaded(path, "VQ-f4").config == config


def test_what_only_training_used_is_left_out_with_a_notice(tmp_path: Path) -> None:
    extra = {
        "loss/discriminator/main/0/weight": torch.zeros(4, 3, 4, 4),
        "loss/discriminator/main/1/num_batches_tracked": torch.tensor(7),
        "loss/perceptual_loss/lin0/model/1/weight": torch.zeros(1, 4, 1, 1),
        "model_ema/decay": torch.zeros(()),
    }
    path = written("KL-f4", tmp_path / "model.safetensors", **extra)
    with pytest.warns(UserWarning) as caught:
        loaded(path, small_first_stage("KL-f4"))
    assert [str(w.message) for w in caught] == [
        "model.safetensors: 4 tensors that only training used (such as "
        "'loss.discriminator.main.0.weight') were left out."
    ]
    assert caught[0].filename == __file__


def test_the_autoencoder_of_a_whole_model(tmp_path: Path) -> None:
    path = save_tensors(compvis_tensors(networks(), SMALL), tmp_path / "model.safetensors")
    autoencoder = loaded(path, SMALL.autoencoder)
    expected = networks()["vae"].state_dict()
    assert all(torch.equal(t, expected[n]) for n, t in autoencoder.state_dict().items())


@pytest.mark.parametrize("sub", ["", "vae"])
def test_the_autoencoder_of_a_folder(tmp_path: Path, sub: str) -> None:
    autoencoder = loaded(write_folder(tmp_path / "model") / sub)
    assert autoencoder.config == SMALL.autoencoder


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16])
def test_the_types_of_weights(tmp_path: Path, dtype: Any) -> None:
    path = written("VQ-f4", tmp_path / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # half precision on a CPU
        autoencoder = loaded(path, small_first_stage("VQ-f4"), dtype=dtype)
    expected = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    assert {p.dtype for p in autoencoder.parameters()} == {expected}


# ---------------------------------------------------------------------------------- invalid files


def test_a_pickle_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {}}))
    assert "sdwidgets convert 'model.ckpt'" in refused(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "model.safetensors", error=CheckpointNotFound)


def test_a_name_that_is_none(tmp_path: Path) -> None:
    message = refused(tmp_path, "VQ-f5", InputError)
    assert "'VQ-f5'" in message and "VQ-f8-n256" in message


def test_a_folder_has_its_own_config(tmp_path: Path) -> None:
    assert "its own" in refused(write_folder(tmp_path / "model"), "KL-f8", InputError)


def test_a_file_without_an_autoencoder(tmp_path: Path) -> None:
    unet = {f"unet.{n}": t for n, t in networks()["unet"].state_dict().items()}
    assert "holds no autoencoder" in refused(save_tensors(unet, tmp_path / "a.safetensors"))
    lora = {"lora_unet_x.lora_down.weight": torch.zeros(1)}
    assert "a LoRA" in refused(save_tensors(lora, tmp_path / "b.safetensors"))


def test_a_shape_that_is_none_of_the_nine(tmp_path: Path) -> None:
    message = refused(written("VQ-f4", tmp_path / "model.safetensors"))
    assert "VQ with 50 codes, levels [8, 16, 32], 3 latent channels" in message
    assert "AutoencoderConfig" in message


def test_a_file_that_is_not_whole(tmp_path: Path) -> None:
    tensors = random_tensors(small(PUBLISHED["VQ-f4"]))
    del tensors["decoder.mid.attn_1.q.weight"]
    path = save_tensors(tensors, tmp_path / "model.safetensors")
    message = refused(path, small_first_stage("VQ-f4"))
    assert "1 of" in message and "decoder.mid.attn_1.q.weight" in message
    del tensors["post_quant_conv.weight"]
    save_tensors(tensors, path)
    assert "post_quant_conv.weight" in refused(path)


def test_a_tensor_without_a_place(tmp_path: Path) -> None:
    path = written("VQ-f4", tmp_path / "model.safetensors")
    message = refused(path, small_first_stage("VQ-f4-noattn"))
    assert "no place for 20" in message and "mid.attn_1" in message


def test_the_wrong_number_of_codes(tmp_path: Path) -> None:
    path = written("VQ-f4", tmp_path / "model.safetensors")
    message = refused(path, replace(small_first_stage("VQ-f4"), codes=49))
    assert "[50, 3]" in message and "[49, 3]" in message


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    broken = {"quantize/embedding/weight": torch.full((50, 3), float("nan"))}
    path = written("VQ-f4", tmp_path / "model.safetensors", **broken)
    assert "NaN" in refused(path, small_first_stage("VQ-f4"))
    loaded(path, small_first_stage("VQ-f4"), check_finite=False)


def test_sizes_beyond_reason(tmp_path: Path) -> None:
    shapes = {**tensors_of(PUBLISHED["VQ-f4"]), "encoder.down.0.block.0.conv1.weight": (2**40,)}
    assert first_stage.name_of(infer_autoencoder(shapes, "")) is None


# ------------------------------------------------------------------------------------------ saving


@NINE
def test_an_autoencoder_goes_to_disk_and_back(name: str, tmp_path: Path) -> None:
    config = replace(small_first_stage(name), scaling_factor=0.5, shift_factor=0.1)
    autoencoder = Autoencoder(config)
    again = loaded(save_autoencoder(autoencoder, tmp_path / "saved"))
    assert again.config == config
    expected = autoencoder.state_dict()
    assert all(torch.equal(t, expected[n]) for n, t in again.state_dict().items())


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="left unchanged"):
        save_autoencoder(Autoencoder(SMALL.autoencoder), tmp_path)


def test_a_full_disk_leaves_the_old_autoencoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_autoencoder(Autoencoder(SMALL.autoencoder), tmp_path / "saved")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(save, "write_weights", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_autoencoder(Autoencoder(replace(SMALL.autoencoder, scaling_factor=9.0)), path)
    assert loaded(path).config == SMALL.autoencoder


def test_a_whole_model_with_codes_goes_to_disk_and_back(tmp_path: Path) -> None:
    model = load_model(write_folder(tmp_path / "model"), device="cpu")
    vq = replace(SMALL.autoencoder, codes=30, attention_levels=(1,))
    model = replace(
        model, config=replace(model.config, autoencoder=vq), autoencoder=Autoencoder(vq).eval()
    )
    again = load_model(save_model(model, tmp_path / "saved"), device="cpu")
    assert again.config == model.config
    pictures = [m.generate("a cat", steps=2, seed=1).image.tobytes() for m in (model, again)]
    assert pictures[0] == pictures[1]


def test_stable_diffusions_scale_is_not_lost() -> None:
    assert FIRST_STAGES["KL-f8"].scaling_factor == SD1.autoencoder.scaling_factor == 0.18215


def test_names_of_the_attention_before_diffusers_0_13(tmp_path: Path) -> None:
    config = small_first_stage("KL-f8")
    state = Autoencoder(config).state_dict()
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    renamed = {}
    for name, tensor in state.items():
        for new, before in old.items():
            name = name.replace(new, before)
        renamed[name] = tensor
    assert renamed.keys() != state.keys()
    found = loaded(save_tensors(renamed, tmp_path / "vae.safetensors"), config).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_the_autoencoder_of_a_whole_x4_upscaler_has_its_own_scale(tmp_path: Path) -> None:
    shapes = shapes_of(X4_UPSCALER, "compvis")
    path = tmp_path / "model.safetensors"
    write_header(path, shapes, "F8_E4M3")
    with ExitStack() as stack:
        config, _ = first_stage._open_file(path, None, stack, [])
    assert config == X4_UPSCALER.autoencoder
