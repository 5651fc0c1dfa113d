"""Parts from elsewhere: an autoencoder, text encoders and tokenizers for files and folders."""

from __future__ import annotations

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
from torch import Tensor

from sdwidgets import LatentDiffusion, load_autoencoder
from sdwidgets.checkpoints import load_model
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError, SDWidgetsError

pytestmark = pytest.mark.filterwarnings("error::UserWarning")

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return compvis_tensors(networks(), SMALL)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "tokenizer")


def part(tensors: dict[str, Tensor], prefix: str, path: Path, new: str | None = None) -> Path:
    """Write the tensors whose names begin with ``prefix``, which becomes ``new``."""
    start = prefix if new is None else new
    chosen = {n: t for n, t in tensors.items() if n.startswith(prefix)}
    return save_tensors({start + n.removeprefix(prefix): t for n, t in chosen.items()}, path)


def opened(path: Path, **options: Any) -> LatentDiffusion:
    return load_model(path, config=None if path.is_dir() else SMALL, device="cpu", **options)


def assert_whole(model: LatentDiffusion) -> None:
    found = {"unet": model.unet, "vae": model.autoencoder, "text_encoder": model.text.model}
    for name, network in networks().items():
        ours = found[name].state_dict()
        assert all(torch.equal(ours[n], t) for n, t in network.state_dict().items()), name


def refused(error: type[SDWidgetsError], path: Path, **options: Any) -> str:
    with pytest.raises(error) as caught:
        opened(path, **options)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    return message


@pytest.mark.parametrize("prefix", [UNET, "", "diffusion_model."])
@pytest.mark.usefixtures("vocabulary")
def test_a_network_alone_with_parts_from_elsewhere(
    tensors: dict[str, Tensor], prefix: str, tmp_path: Path
) -> None:
    unet = part(tensors, UNET, tmp_path / "unet.safetensors", prefix)
    vae = part(tensors, VAE, tmp_path / "vae.safetensors", "")
    text = part(tensors, TEXT, tmp_path / "text.safetensors", "")
    model = opened(unet, vae=vae, text=text)
    assert_whole(model)
    assert model.config.autoencoder == SMALL.autoencoder
    assert [(one.name, one.kind) for one in model.sources] == [
        ("unet.safetensors", "checkpoint"),
        ("vae.safetensors", "autoencoder"),
        ("text.safetensors", "text encoder"),
    ]


@pytest.mark.usefixtures("vocabulary")
def test_parts_of_whole_models_and_of_folders(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    unet = part(tensors, UNET, tmp_path / "unet.safetensors")
    whole = save_tensors(tensors, tmp_path / "whole.safetensors")
    folder = write_folder(tmp_path / "folder")
    for vae in (whole, folder, folder / "vae"):
        for text in (whole, folder, folder / "text_encoder"):
            assert_whole(opened(unet, vae=vae, text=[text]))


@pytest.mark.usefixtures("vocabulary")
def test_an_autoencoder_that_is_loaded_already(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder")
    coder = load_autoencoder(folder, device="cpu")
    kept = {n: t for n, t in tensors.items() if not n.startswith(VAE)}
    model = opened(save_tensors(kept, tmp_path / "model.safetensors"), vae=coder)
    assert model.autoencoder is coder
    assert_whole(model)
    assert [one.kind for one in model.sources] == ["checkpoint", "autoencoder"]


def test_a_folder_with_another_autoencoder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder")
    state = {n: t + 1 for n, t in networks()["vae"].state_dict().items()}
    vae = save_tensors(state, tmp_path / "vae.safetensors")
    model = opened(folder, vae=vae)
    found = model.autoencoder.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert model.sources[-1].kind == "autoencoder"
    assert len(model.sources) == 3  # the folder's own is not read


def test_a_folder_with_another_text_encoder_and_tokenizer(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder")
    state = {n: t + 1 for n, t in networks()["text_encoder"].state_dict().items()}
    text = save_tensors(state, tmp_path / "text.safetensors")
    (folder / "tokenizer").rename(tmp_path / "elsewhere")
    model = opened(folder, text=text, tokenizer=tmp_path / "elsewhere")
    found = model.text.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert model.text.config == SMALL.text[0]
    assert model.text.tokenize(["a cat"]).pieces == (("a", "cat"),)


def test_an_autoencoder_of_another_scale_has_a_notice(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder")
    other = write_folder(tmp_path / "other")
    edit_json(other / "vae" / "config.json", scaling_factor=0.5)
    with pytest.warns(
        UserWarning, match=r"scales its latents by 0\.5, the model's own by 0\.18215"
    ):
        assert opened(folder, vae=other).config.autoencoder.scaling_factor == 0.5


@pytest.mark.usefixtures("vocabulary")
def test_what_is_no_such_part_is_named(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    whole = save_tensors(tensors, tmp_path / "whole.safetensors")
    unet = part(tensors, UNET, tmp_path / "unet.safetensors")
    assert "has no autoencoder" in refused(CheckpointError, whole, vae=unet)
    assert "has no text encoder" in refused(CheckpointError, whole, text=unet)
    assert "There is no file" in refused(CheckpointNotFound, whole, vae=tmp_path / "gone")
    assert "list of paths" in refused(InputError, whole, text=[])
    assert "vae must be the path" in refused(InputError, whole, vae=3)
    assert "names 3, but the model has 1" in refused(
        InputError, whole, tokenizer=[tmp_path / "tokenizer"] * 3
    )


@pytest.mark.usefixtures("vocabulary")
def test_a_text_encoder_of_another_family(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    whole = save_tensors(tensors, tmp_path / "whole.safetensors")
    wide = replace(SMALL, embedders=(replace(SMALL.text[0], width=32, heads=2),))
    state = networks(wide)["text_encoder"].state_dict()
    text = save_tensors(state, tmp_path / "text.safetensors")
    message = refused(CheckpointError, whole, text=text)
    assert "width 32" in message and "needs width 24" in message


@pytest.mark.usefixtures("vocabulary")
def test_old_names_of_the_text_encoder(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    old = {name.replace(".text_model.", "."): tensor for name, tensor in tensors.items()}
    assert old.keys() != tensors.keys()
    assert_whole(opened(save_tensors(old, tmp_path / "old.safetensors")))


@pytest.mark.usefixtures("vocabulary")
def test_what_comfyui_saves_beside_a_text_encoder(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    more = {f"{TEXT}text_projection.weight": torch.eye(24), "cond_stage_model.logit_scale":
            torch.tensor(4.6)}  # fmt: skip
    path = save_tensors({**tensors, **more}, tmp_path / "one.safetensors")
    with pytest.warns(UserWarning, match="2 tensors .*all of them usual"):
        assert_whole(opened(path))


@pytest.mark.usefixtures("vocabulary")
def test_a_network_with_more_than_its_config_says_is_refused(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    more = {f"{UNET}input_blocks.1.1.motion.weight": torch.zeros(2)}
    path = save_tensors({**tensors, **more}, tmp_path / "one.safetensors")
    message = refused(CheckpointError, path)
    assert "no place for 1 of the tensors" in message and "motion" in message
