"""Saving a model: whole or not at all, and equal when it is loaded again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import SMALL, write_folder

from sdwidgets.checkpoints import (
    exchange,
    folder_files,
    load_autoencoder,
    load_model,
    save,
    save_model,
)
from sdwidgets.checkpoints.weights import WeightFile
from sdwidgets.configs import TINY, ModelConfig, SizesConfig
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError
from sdwidgets.pipeline import LatentDiffusion


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(write_folder(tmp_path_factory.mktemp("save") / "model"), device="cpu")


def same_weights(ours: Any, theirs: Any) -> bool:
    pairs = (
        (ours.unet, theirs.unet),
        (ours.autoencoder, theirs.autoencoder),
        (ours.text.model, theirs.text.model),
    )
    return all(
        torch.equal(a, b)
        for one, other in pairs
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_a_saved_model_is_the_same_model(model: Any, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "deep" / "saved")
    again = load_model(path, device="cpu")
    assert again.config == model.config == SMALL
    assert same_weights(again, model)
    prompts = ["a cat, <|endoftext|> dog", "owl"]
    assert torch.equal(again.text.tokenize(prompts).ids, model.text.tokenize(prompts).ids)
    pictures = [m.generate("a cat", steps=2, seed=1).image.tobytes() for m in (model, again)]
    assert pictures[0] == pictures[1]


def test_the_files_are_those_of_the_layout(model: Any, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "saved")
    files = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    assert files == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }
    assert os.listdir(tmp_path) == ["saved"]


@pytest.mark.parametrize("dtype", ["float16", torch.float16])
def test_half_precision_on_disk(model: Any, tmp_path: Path, dtype: Any) -> None:
    path = save_model(model, tmp_path / "saved", dtype=dtype)
    with WeightFile(path / "unet" / "diffusion_pytorch_model.safetensors") as file:
        assert {entry.dtype for entry in file.entries.values()} == {"F16"}
    again = load_model(path, device="cpu")
    assert torch.equal(again.unet.conv_in.weight, model.unet.conv_in.weight.half().float())


@pytest.mark.parametrize("dtype", ["int8", "nonsense", torch.int64, "nn"])
def test_a_dtype_that_is_none(model: Any, tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(InputError, match="dtype"):
        save_model(model, tmp_path / "saved", dtype=dtype)
    assert not (tmp_path / "saved").exists()


def test_a_prediction_that_diffusers_has_no_word_for_has_our_own_layout(
    model: Any, tmp_path: Path
) -> None:
    schedule = replace(model.config.schedule, prediction="flow")
    flow = replace(model, config=replace(model.config, schedule=schedule))
    path = save_model(flow, tmp_path / "saved")
    assert not (path / "model_index.json").exists()
    assert load_model(path, device="cpu").config == flow.config


def test_the_preview_goes_along(model: Any, tmp_path: Path) -> None:
    factors = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
    path = save_model(replace(model, preview=factors), tmp_path / "saved")
    assert np.array_equal(load_model(path, device="cpu").preview, factors)
    save_model(model, path)  # and is removed with the model that had it
    assert load_model(path, device="cpu").preview is None


def test_the_words_that_it_was_taught_go_along(model: Any, tmp_path: Path) -> None:
    words = {"things": ("cat", "chat"), "others": ("a",)}
    path = save_model(replace(model, vocabulary=words), tmp_path / "saved")
    assert load_model(path, device="cpu").vocabulary == words
    save_model(model, path)
    assert load_model(path, device="cpu").vocabulary is None


def test_a_model_is_replaced_and_other_files_are_kept(model: Any, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "saved")
    (path / "README.md").write_text("how it was made")
    (path / "unet" / "old.txt").write_text("of the old model")
    save_model(replace(model, config=replace(SMALL, name="second")), path)
    assert load_model(path, device="cpu").name == "second"
    assert (path / "README.md").read_text() == "how it was made"
    assert not (path / "unet" / "old.txt").exists()
    assert os.listdir(tmp_path) == ["saved"]


def test_anything_else_is_left_alone(model: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for target in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(InputError, match="left unchanged"):
            save_model(model, target)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_used(model: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (save_model(model, tmp_path / "empty") / "model_index.json").is_file()


@pytest.mark.parametrize("step", ["write_weights", "write_tokenizer", "sync"])
def test_a_full_disk_leaves_the_old_model(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = save_model(model, tmp_path / "saved")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(save, step, full)
    with pytest.raises(CheckpointError, match=r"No space left(.|\n)*unchanged"):
        save_model(replace(model, config=replace(SMALL, name="second")), path)
    monkeypatch.undo()
    assert load_model(path, device="cpu").name == "small"
    assert os.listdir(tmp_path) == ["saved"]


def test_an_error_in_the_middle_of_a_file_leaves_the_old_model(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_model(model, tmp_path / "saved")

    def full(file: Any, *args: Any) -> None:
        file.write(b"half of a header")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_files, "write_into", full)
    with pytest.raises(CheckpointError, match=r"No space left(.|\n)*unchanged"):
        save_model(model, path)
    assert os.listdir(tmp_path) == ["saved"]


def test_a_move_that_fails_puts_the_old_model_back(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_model(model, tmp_path / "saved")
    replace_path, moved = os.replace, list[str]()

    def fails_once(source: Any, target: Any) -> None:
        moved.append(Path(source).name)
        if moved == ["saved", "new"]:
            raise OSError(errno.EIO, "Input/output error")
        replace_path(source, target)

    monkeypatch.setattr(os, "replace", fails_once)
    monkeypatch.setattr(exchange, "_exchanged", lambda *folders: False)
    with pytest.raises(CheckpointError, match="Input/output"):
        save_model(model, path)
    monkeypatch.undo()
    assert moved == ["saved", "new", "old"]
    assert same_weights(load_model(path, device="cpu"), model)
    assert os.listdir(tmp_path) == ["saved"]


def test_a_padding_token_of_its_own_is_kept(model: Any, tmp_path: Path) -> None:
    text = replace(SMALL.text[0], pad=0)
    config = replace(SMALL, embedders=(text,))
    path = save_model(replace(model, config=config), tmp_path / "saved")
    again = load_model(path, device="cpu")
    assert again.config == config
    assert again.text.tokenize(["cat"]).ids[0, -1] == 0


# -- two text encoders -----------------------------------------------------------------------


@pytest.fixture
def two(make_model: Callable[[ModelConfig], LatentDiffusion]) -> LatentDiffusion:
    """Return a small model with the parts of Stable Diffusion XL."""
    first = replace(TINY.text[0], skip=1, norm=False, zeros=True)
    second = replace(first, width=16, pad=0, projection_dim=6)
    config = replace(TINY, embedders=(first, second, SizesConfig(4)), join="width")
    unet = replace(TINY.unet, context_dim=40, vector_dim=30)
    return make_model(replace(config, unet=unet))


def test_two_text_encoders_come_back(two: LatentDiffusion, tmp_path: Path) -> None:
    path = save_model(two, tmp_path / "two")
    assert {"text_encoder_2", "tokenizer_2"} < set(os.listdir(path))
    again = load_model(path, device="cpu")
    assert again.config == two.config
    assert again.fingerprint == two.fingerprint
    told, wanted = again.condition(["a cat", ""]), two.condition(["a cat", ""])
    assert torch.equal(told.context, wanted.context)
    assert torch.equal(told.vector, wanted.vector)
    first, second, _ = again.embedders
    assert first.tokenize(["a"]).ids[0, -1] != second.tokenize(["a"]).ids[0, -1] == 0


def test_zeros_for_nothing_said_come_back(two: LatentDiffusion, tmp_path: Path) -> None:
    first, second, sizes = two.config.embedders
    texts = tuple(replace(text, zeros=False) for text in (first, second))
    config = replace(two.config, embedders=(*texts, sizes))
    path = save_model(replace(two, config=config), tmp_path / "two")
    assert load_model(path, device="cpu").config == config


def test_other_combinations_have_our_own_layout(
    two: LatentDiffusion, make_model: Callable[[ModelConfig], LatentDiffusion], tmp_path: Path
) -> None:
    first, second, sizes = two.config.embedders
    for embedders in [(first, second), (first, sizes), (second, first, sizes)]:
        config = replace(two.config, embedders=embedders)
        widths = {"context_dim": config.context_width, "vector_dim": config.vector_width}
        other = make_model(replace(config, unet=replace(two.config.unet, **widths)))
        path = save_model(other, tmp_path / "two")
        assert not (path / "model_index.json").exists()
        again = load_model(path, device="cpu")
        assert (again.config, again.fingerprint) == (other.config, other.fingerprint)


@pytest.mark.parametrize(
    "other", [{"skip": 1}, {"norm": False}, {"zeros": True}, {"projection_dim": 6}]
)
def test_a_way_of_reading_that_diffusers_cannot_say_has_our_own_layout(
    make_model: Callable[[ModelConfig], LatentDiffusion], tmp_path: Path, other: dict[str, Any]
) -> None:
    """In diffusers' layout, the loaded model would make other images."""
    text = replace(TINY.text[0], **other)
    unet = replace(TINY.unet, vector_dim=text.vector_width)
    model = make_model(replace(TINY, embedders=(text,), unet=unet))
    path = save_model(model, tmp_path / "saved")
    assert not (path / "model_index.json").exists()
    again = load_model(path, device="cpu")
    assert (again.config, again.fingerprint) == (model.config, model.fingerprint)


def test_one_tokenizer_cannot_stand_for_two(two: LatentDiffusion, tmp_path: Path) -> None:
    path = save_model(two, tmp_path / "two")
    with pytest.raises(InputError, match="2 text encoders, with a tokenizer each"):
        load_model(path, device="cpu", tokenizer=path / "tokenizer")


def test_a_second_encoder_that_is_missing_is_named(two: LatentDiffusion, tmp_path: Path) -> None:
    path = save_model(two, tmp_path / "two")
    (path / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(CheckpointNotFound, match="text_encoder_2"):
        load_model(path, device="cpu")


def test_a_model_whose_replacement_was_interrupted_is_loaded_and_saved_over(
    model: Any, tmp_path: Path
) -> None:
    """Where names cannot be exchanged, a process may be killed between two moves."""
    path = save_model(model, tmp_path / "saved")
    for use in (
        lambda: load_model(path, device="cpu"),
        lambda: load_model(str(path), device="cpu"),
        lambda: load_autoencoder(path, device="cpu"),
        lambda: save_model(model, path),
    ):
        scratch = tmp_path / ".saved.saving.0123"
        scratch.mkdir(exist_ok=True)
        (scratch / "lock").write_text("saved")
        (path / "README").write_text("mine")
        path.rename(scratch / "old")
        use()
        assert same_weights(load_model(path, device="cpu"), model)
        assert (path / "README").read_text() == "mine"
    assert os.listdir(tmp_path) == ["saved"]
