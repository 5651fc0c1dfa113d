"""Models from layout to layout: every family, from a folder to single files and back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import save_tensors
from published import layouts_of, published
from safetensors.torch import load_file
from small_families import FAMILIES as SMALL
from torch import Tensor

from sdwidgets import cli, save
from sdwidgets.checkpoints import convert, load_autoencoder
from sdwidgets.configs import ModelConfig, TextConfig
from sdwidgets.errors import CheckpointError, InputError
from sdwidgets.pipeline import LatentDiffusion


def as_a_file_tells(config: ModelConfig) -> ModelConfig:
    """Return a small model with what no shape tells as in its family: groups and heads."""
    unet, vae = config.unet, config.autoencoder
    channels = tuple(2 * width for width in unet.channels)
    alike = len(set(unet.heads)) == 1
    heads = unet.heads if alike else tuple(max(width // 64, 1) for width in channels)
    return replace(
        config,
        unet=replace(unet, channels=channels, heads=heads, norm_groups=32),
        autoencoder=replace(
            vae, channels=tuple(4 * width for width in vae.channels), norm_groups=32
        ),
        embedders=tuple(
            replace(each, heads=max(each.width // 64, 1)) if isinstance(each, TextConfig) else each
            for each in config.embedders
        ),
    )


FAMILIES = {name: as_a_file_tells(config) for name, config in SMALL.items()}
BY_NAME = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "SD1" else pytest.mark.slow) for name in SMALL]
)
MakeModel = Callable[[ModelConfig], LatentDiffusion]


def stored(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a model folder, with the names of their folders in front."""
    return {
        f"{path.parent.name}.{name}": tensor
        for path in sorted(folder.glob("*/*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a
    )


@BY_NAME
def test_every_family_goes_from_layout_to_layout(
    name: str, make_model: MakeModel, tmp_path: Path
) -> None:
    model = make_model(FAMILIES[name])
    folder = save(model, tmp_path / "model")
    shutil.copytree(next(folder.glob("tokenizer*")), tmp_path / "files" / "tokenizer")
    files = tmp_path / "files"
    original = stored(folder)

    one = convert(folder, files / "original.safetensors", layout="compvis")
    assert not [said for said in one.notes if "does not tell" in said or "is not known" in said]
    named = published(networks(model), model.config, layouts_of(model.config)[0])
    made = load_file(one.path)
    assert made.keys() - MARKS == {each for each in named if not each.endswith("position_ids")}
    for each, tensor in made.items():
        if each not in MARKS and not is_unused(each, model.config):
            assert torch.equal(tensor, named[each]), each

    other = convert(one.path, files / "diffusers.safetensors", layout="diffusers")
    kept = {each: made[each] for each in MARKS if each in made}
    assert equal(load_file(other.path), original | kept)
    back = convert(other.path, tmp_path / "back", layout="folder")
    assert equal(stored(back.path), original)
    assert (back.tensors, back.bytes) == (
        len(original),
        sum(tensor.nbytes for tensor in original.values()),
    )
    read = json.loads((back.path / "scheduler" / "scheduler_config.json").read_text())
    wanted = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    for field in ("prediction_type", "beta_start", "beta_end", "beta_schedule"):
        assert read[field] == wanted[field]


MARKS = {"ztsnr", "v_pred"}


def networks(model: LatentDiffusion) -> dict[str, Any]:
    texts = [each.model for each in model.embedders if hasattr(each, "tokenizer")]
    names = ("text_encoder", "text_encoder_2")
    return {
        "unet": model.unet,
        "vae": model.autoencoder,
        **dict(zip(names, texts, strict=False)),
    }


def is_unused(name: str, config: ModelConfig) -> bool:
    """Whether a tensor is only there because readers count on it."""
    if name.endswith("logit_scale"):
        return True
    last = f".resblocks.{config.text[0].layers}."
    return not config.unet.vector_dim and (last in name or name.endswith("text_projection"))


# ----------------------------------------------------------------- one family, in other respects


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> LatentDiffusion:
    return make_model(FAMILIES["SD1"])


@pytest.fixture(scope="module")
def one_file(model: LatentDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save(model, tmp_path_factory.mktemp("layouts") / "model")
    shutil.copytree(folder / "tokenizer", folder.parent / "tokenizer")
    return convert(folder, folder.parent / "m.safetensors").path  # the name tells the layout


def test_a_pickle_of_a_model_becomes_a_folder(one_file: Path, tmp_path: Path) -> None:
    shutil.copytree(one_file.parent / "tokenizer", tmp_path / "tokenizer")
    tensors = load_file(one_file)
    tensors["model_ema.decay"] = torch.tensor(0.9)
    torch.save({"state_dict": tensors, "global_step": 7}, tmp_path / "m.ckpt")
    found = convert(tmp_path / "m.ckpt", tmp_path / "folder", layout="folder")
    assert equal(stored(found.path), stored(one_file.parent / "model"))
    assert any("model_ema.decay" in said for said in found.notes)
    assert json.loads((found.path / "model_index.json").read_text())["_class_name"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "m.ckpt", "tokenizer"]


def test_a_layout_and_a_type_at_once(one_file: Path, tmp_path: Path) -> None:
    found = convert(one_file, tmp_path / "half", layout="folder", dtype="float16")
    halves = {name: each.half() for name, each in stored(one_file.parent / "model").items()}
    assert equal(stored(found.path), halves)


def test_scaled_weights_are_multiplied_by_their_scales(one_file: Path, tmp_path: Path) -> None:
    shutil.copytree(one_file.parent / "tokenizer", tmp_path / "tokenizer")
    tensors = load_file(one_file)
    layer = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q"
    whole = tensors[f"{layer}.weight"]
    scale = whole.abs().max() / 400
    small = (whole / scale).to(torch.float8_e4m3fn)
    tensors |= {f"{layer}.weight": small, f"{layer}.scale_weight": scale}
    path = save_tensors(tensors, tmp_path / "scaled.safetensors")
    found = convert(path, tmp_path / "new.safetensors", layout="compvis")
    made = load_file(found.path)
    assert torch.equal(made[f"{layer}.weight"], small.float() * scale)
    assert f"{layer}.scale_weight" not in made


@pytest.mark.parametrize("layout", ["compvis", "diffusers"])
def test_parts_alone(one_file: Path, model: LatentDiffusion, layout: Any, tmp_path: Path) -> None:
    whole = stored(one_file.parent / "model")
    for part in ("vae", "text_encoder", "unet"):
        found = convert(one_file, tmp_path / f"{part}.safetensors", part=part, layout=layout)
        own = {
            name.removeprefix(f"{part}."): tensor
            for name, tensor in whole.items()
            if name.startswith(f"{part}.")
        }
        made = load_file(found.path)
        assert len(made) == len(own)
        if layout == "diffusers" or part == "text_encoder":
            assert equal(made, own)
    config = model.autoencoder.config
    again = load_autoencoder(tmp_path / "vae.safetensors", device="cpu", config=config)
    assert torch.equal(again.decoder.conv_in.weight, model.autoencoder.decoder.conv_in.weight)


def test_a_part_as_a_folder(one_file: Path, tmp_path: Path) -> None:
    found = convert(one_file, tmp_path / "vae", part="vae", layout="folder")
    assert sorted(os.listdir(found.path)) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert load_autoencoder(found.path, device="cpu").config.channels == (32, 64, 128, 128)


def test_what_has_no_layout_is_refused(one_file: Path, tmp_path: Path) -> None:
    lora = save_tensors({"lora_unet_x.lora_down.weight": torch.ones(1)}, tmp_path / "l.safetensors")
    with pytest.raises(CheckpointError, match="LoRA"):
        convert(lora, tmp_path / "new.safetensors", layout="diffusers")
    with pytest.raises(InputError, match="has no text_encoder_2"):
        convert(one_file, tmp_path / "new.safetensors", part="text_encoder_2")
    for wrong in ("ldm", 5, "folder "):
        with pytest.raises(InputError, match="layout"):
            convert(one_file, tmp_path / "new.safetensors", layout=wrong)  # type: ignore
        with pytest.raises(InputError, match="part"):
            convert(one_file, tmp_path / "new.safetensors", part=wrong)  # type: ignore
    assert [each.name for each in tmp_path.iterdir()] == ["l.safetensors"]


def test_a_model_folder_is_replaced_only_on_request(one_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    convert(one_file, target, layout="folder")
    with pytest.raises(InputError, match="exists"):
        convert(one_file, target, layout="folder")
    (target / "README.md").write_text("mine")
    convert(one_file, target, layout="folder", overwrite=True)
    assert (target / "README.md").read_text() == "mine"
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="something other than a model"):
        convert(one_file, tmp_path / "else", layout="folder", overwrite=True)
    assert os.listdir(tmp_path / "else") == ["mine.txt"]


def test_progress_of_a_folder_is_that_of_all_its_files(one_file: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = convert(
        one_file, tmp_path / "model", layout="folder", progress=lambda *count: seen.append(count)
    )
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {total for _, total in seen} == {found.bytes} and seen[-1] == (found.bytes, found.bytes)


def test_a_model_that_single_files_do_not_tell_has_a_note(
    make_model: MakeModel, tmp_path: Path
) -> None:
    config = FAMILIES["SD1"]
    strange = replace(
        config,
        unet=replace(config.unet, heads=(2, 2, 2, 2)),
        schedule=replace(config.schedule, beta_end=0.015),
    )
    folder = save(make_model(strange), tmp_path / "model")
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    found = convert(folder, tmp_path / "m.safetensors")
    (said,) = [each for each in found.notes if "does not tell" in each]
    assert "heads of the network" in said and "beta_end of the noise" in said


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_noise_that_ends_in_pure_noise_goes_along(
    make_model: MakeModel, prediction: Any, tmp_path: Path
) -> None:
    config = FAMILIES["SD1"]
    schedule = replace(config.schedule, zero_snr=True, prediction=prediction)
    folder = save(make_model(replace(config, schedule=schedule)), tmp_path / "model")
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    found = convert(folder, tmp_path / "m.safetensors")
    assert not [said for said in found.notes if "does not tell" in said]
    back = convert(found.path, tmp_path / "back", layout="folder")
    read = json.loads((back.path / "scheduler" / "scheduler_config.json").read_text())
    assert read["rescale_betas_zero_snr"] is True
    assert read["prediction_type"] == ("v_prediction" if prediction == "v" else "epsilon")


def test_the_command_has_layouts_and_parts(
    one_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "vae.safetensors")
    words = ["convert", str(one_file), "--out", out, "--part", "vae", "--dtype", "bfloat16"]
    assert cli.main(words) == 0
    assert f"Wrote {out}" in capsys.readouterr().out
    assert {each.dtype for each in load_file(out).values()} == {torch.bfloat16}
