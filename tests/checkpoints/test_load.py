"""Loading whole models: valid files are loaded bit for bit, others are refused with a reason."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import math
import os
import shutil
import sys
import warnings
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import (
    SMALL,
    compvis_tensors,
    edit_json,
    edit_tensors,
    networks,
    raw_safetensors,
    save_tensors,
    write_folder,
    write_tokenizer,
)
from published import shapes_of
from torch import Tensor
from vocabulary import write_one_file

from sdwidgets.checkpoints import load_model, weights, zoo
from sdwidgets.checkpoints.weights import WeightFile
from sdwidgets.configs import SD1, ClassConfig, EmbedderConfig
from sdwidgets.errors import (
    CheckpointError,
    CheckpointNotFound,
    InputError,
    OutOfMemory,
    SDWidgetsError,
    Stopped,
)
from sdwidgets.sources import Source, hashed

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # notices only where expected


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("template") / "model")


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """Return a copy of SMALL's folder, which tests may damage."""
    return Path(shutil.copytree(template, tmp_path / "model"))


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """Return SMALL in a single file with CompVis's names, beside its vocabulary."""
    write_tokenizer(tmp_path / "tokenizer")
    return save_tensors(compvis_tensors(networks(), SMALL), tmp_path / "one.safetensors")


def refused(path: Path, error: type[SDWidgetsError] = CheckpointError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        load_model(path, device="cpu", **options)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    return message


def state(model: Any) -> dict[str, Tensor]:
    parts = {"unet": model.unet, "vae": model.autoencoder, "text": model.text.model}
    return {f"{p}.{n}": t for p, part in parts.items() for n, t in part.state_dict().items()}


def assert_weights(model: Any, **expected: torch.nn.Module) -> None:
    whole = {"unet": model.unet, "vae": model.autoencoder, "text_encoder": model.text.model}
    for part, network in networks().items():
        theirs = network.state_dict()
        ours = whole[part].state_dict()
        assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


# -------------------------------------------------------------------------------------- valid files


def test_a_folder_gives_its_config_and_weights(folder: Path) -> None:
    model = load_model(folder, device="cpu")
    assert model.config == SMALL
    assert_weights(model)


def test_a_model_names_the_files_it_came_from(folder: Path, one_file: Path) -> None:
    sources = load_model(folder, device="cpu").sources
    assert [one.name for one in sources] == [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ]
    (one,) = hashed(load_model(one_file, device="cpu", config=SMALL).sources)
    digest = hashlib.sha256(one_file.read_bytes()).hexdigest()
    assert one == Source("one.safetensors", digest)


def test_loading_hashes_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdwidgets.sources._sha256", None)  # hashing gigabytes would take seconds
    assert [one.sha256 for one in load_model(folder, device="cpu").sources] == ["", "", ""]


def test_a_path_may_be_text(folder: Path) -> None:
    assert load_model(str(folder), device="cpu").config == SMALL


def test_weights_are_for_inference(folder: Path) -> None:
    model = load_model(folder, device="cpu")
    for part in (model.unet, model.autoencoder, model.text.model):
        assert not part.training
        assert not any(parameter.requires_grad for parameter in part.parameters())
        assert all(t.device.type == "cpu" for t in (*part.parameters(), *part.buffers()))


def test_a_loaded_model_makes_a_picture(folder: Path) -> None:
    image = load_model(folder, device="cpu").generate("a cat", steps=2, seed=0).image
    assert image.size == (16, 16)


def test_weights_are_allocated_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places: set[int] = set()
    read = WeightFile.read

    def watched(self: WeightFile, *args: Any, **kwargs: Any) -> Tensor:
        tensor = read(self, *args, **kwargs)
        places.add(tensor.data_ptr())
        return tensor

    monkeypatch.setattr(WeightFile, "read", watched)
    model = load_model(folder, device="cpu")
    # parameters are the memory that was read into, except for convolution kernels
    kernels = [tensor for tensor in state(model).values() if tensor.ndim == 4]
    others = {tensor.data_ptr() for tensor in state(model).values() if tensor.ndim != 4}
    assert others <= places
    assert len(others) == len(state(model)) - len(kernels)
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_no_map_of_the_file_is_kept(folder: Path) -> None:
    model = load_model(folder, device="cpu")

    def digest() -> str:
        weight = model.unet.conv_in.weight.numpy()
        return hashlib.sha256(weight.tobytes()).hexdigest()

    before = digest()
    for name in (UNET, VAE, TEXT):
        size = (folder / name).stat().st_size
        with open(folder / name, "r+b") as file:
            file.write(os.urandom(size))
            file.truncate(10)
    assert digest() == before


def test_half_precision_files_become_float32_on_a_cpu(folder: Path) -> None:
    for name in (UNET, VAE, TEXT):
        from safetensors.torch import load_file

        tensors = load_file(folder / name)
        save_tensors({key: t.half() for key, t in tensors.items()}, folder / name)
    model = load_model(folder, device="cpu")
    assert model.dtype == torch.float32
    expected = networks()["unet"].state_dict()["conv_in.weight"].half().float()
    assert torch.equal(model.unet.conv_in.weight, expected)


def test_the_dtype_can_be_chosen(folder: Path) -> None:
    for dtype in (torch.bfloat16, "bfloat16"):
        assert load_model(folder, device="cpu", dtype=dtype).dtype == torch.bfloat16


def test_float16_on_a_cpu_becomes_float32_and_says_so(folder: Path) -> None:
    with pytest.warns(UserWarning, match="float32"):
        assert load_model(folder, device="cpu", dtype="float16").dtype == torch.float32


def test_one_compvis_file(one_file: Path) -> None:
    model = load_model(one_file, config=SMALL, device="cpu")
    assert_weights(model)
    assert model.config == SMALL


def test_one_file_with_diffusers_names(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    tensors = {
        f"{part}.{name}": tensor
        for part, network in networks().items()
        for name, tensor in network.state_dict().items()
    }
    path = save_tensors(tensors, tmp_path / "one.safetensors")
    assert_weights(load_model(path, config=SMALL, device="cpu"))


@pytest.mark.parametrize(
    "embedders", [(), (ClassConfig(("cat",), 24),), (SMALL.text[0], ClassConfig(("cat",), 24))]
)
def test_a_config_with_weights_that_the_file_lacks_is_refused(
    one_file: Path, embedders: tuple[EmbedderConfig, ...]
) -> None:
    message = "context has width 0" if not embedders else "the table of classes are missing"
    with pytest.raises(CheckpointError, match=message):
        load_model(one_file, config=replace(SMALL, embedders=embedders), device="cpu")


def test_the_tokenizer_of_one_file_can_be_given(one_file: Path, tmp_path: Path) -> None:
    elsewhere = write_tokenizer(tmp_path / "elsewhere")
    (tmp_path / "tokenizer").rename(tmp_path / "gone")
    for given in (elsewhere, [elsewhere], elsewhere / "vocab.json"):
        model = load_model(one_file, config=SMALL, tokenizer=given, device="cpu")
        assert model.text.tokenize(["a cat"]).pieces == (("a", "cat"),)


def test_one_file_needs_nothing_beside_it(tmp_path: Path) -> None:
    config = replace(SMALL, embedders=(replace(SMALL.text[0], vocab_size=49408, pad=0),))
    tensors = compvis_tensors(networks(config), config)
    model = load_model(save_tensors(tensors, tmp_path / "one.safetensors"), config=config)
    (row,) = model.text.tokenize(["a photo of a cat"]).ids.tolist()
    assert row[:8] == [49406, 320, 1125, 539, 320, 2368, 49407, 0]
    assert len(row) == 77 and set(row[8:]) == {0}  # as Stable Diffusion 2 pads


def test_one_file_with_another_vocabulary_than_clips(one_file: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").rename(tmp_path / "gone")
    message = refused(one_file, CheckpointNotFound, config=SMALL)
    assert "vocab.json" in message and "tokenizer=" in message


def test_old_names_of_the_autoencoders_attention(folder: Path) -> None:
    from safetensors.torch import load_file

    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(folder / VAE)
    renamed = {}
    for name, tensor in tensors.items():
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        renamed[name] = tensor
    assert renamed.keys() != tensors.keys()
    save_tensors(renamed, folder / VAE)
    assert_weights(load_model(folder, device="cpu"))


def test_convolutions_and_linear_layers_are_the_same(folder: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(folder / UNET)
    for name in tensors:
        if name.endswith(("proj_in.weight", "proj_out.weight")):
            tensors[name] = tensors[name][:, :, None, None]
    save_tensors(tensors, folder / UNET)
    assert_weights(load_model(folder, device="cpu"))


@pytest.mark.parametrize("with_prefix", [True, False])
def test_text_encoders_of_either_transformers(folder: Path, with_prefix: bool) -> None:
    from safetensors.torch import load_file

    prefix = "text_model." if with_prefix else ""
    tensors = load_file(folder / TEXT)
    bare = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    save_tensors({prefix + name: tensor for name, tensor in bare.items()}, folder / TEXT)
    assert_weights(load_model(folder, device="cpu"))


def test_shards(folder: Path) -> None:
    split(folder)
    assert_weights(load_model(folder, device="cpu"))


def split(folder: Path) -> Path:
    """Cut the UNet's file into two shards with an index; return the index's path."""
    from safetensors.torch import load_file

    tensors = load_file(folder / UNET)
    (folder / UNET).unlink()
    stem, half, where = folder / "unet", len(tensors) // 2, {}
    for i, chosen in enumerate((list(tensors)[:half], list(tensors)[half:])):
        name = f"diffusion_pytorch_model-0000{i + 1}-of-00002.safetensors"
        save_tensors({key: tensors[key] for key in chosen}, stem / name)
        where |= dict.fromkeys(chosen, name)
    index = stem / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return index


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", 5, None, "x\0"]
)
def test_shards_are_plain_names(folder: Path, name: object) -> None:
    edit_json(split(folder), weight_map={"conv_in.weight": name})
    assert "no plain name" in refused(folder)


def test_a_missing_shard(folder: Path) -> None:
    split(folder)
    (folder / "unet/diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    assert "00002-of-00002" in refused(folder, CheckpointNotFound)


def test_the_preview_of_a_folder(folder: Path) -> None:
    factors = np.arange(15, dtype=np.float32).reshape(5, 3)
    (folder / "preview.json").write_text(json.dumps({"factors": factors.tolist()}))
    preview = load_model(folder, device="cpu").preview
    assert preview is not None and np.array_equal(preview, factors)


@pytest.mark.parametrize("factors", [None, [], [[1, 2, 3]], [["a"] * 3] * 5, [[1e999] * 3] * 5])
def test_a_broken_preview(folder: Path, factors: object) -> None:
    text = json.dumps({"factors": factors}).replace("Infinity", "1e999")
    (folder / "preview.json").write_text(text)
    assert "preview.json" in refused(folder)


# -------------------------------------------------------------------- missing, extra, wrong tensors


@pytest.mark.parametrize(
    ("file", "name", "label"),
    [
        (UNET, "mid_block/resnets/0/conv1/weight", "UNet"),
        (VAE, "encoder/conv_in/bias", "autoencoder"),
        (TEXT, "final_layer_norm/weight", "text encoder"),
    ],
)
def test_one_tensor_missing(folder: Path, file: str, name: str, label: str) -> None:
    tensors = load_names(folder / file)
    found = next(t for t in tensors if t.endswith(name.replace("/", ".")))
    edit_tensors(folder / file, **{found: None})
    message = refused(folder)
    assert f"1 of {len(tensors)} tensors of the {label}" in message
    assert name.replace("/", ".") in message


def load_names(path: Path) -> list[str]:
    with WeightFile(path) as file:
        return list(file.entries)


def test_a_whole_block_missing_gives_a_count_and_five_names(folder: Path) -> None:
    block = [name for name in load_names(folder / UNET) if name.startswith("down_blocks.1.")]
    edit_tensors(folder / UNET, **dict.fromkeys(block, None))
    message = refused(folder)
    assert f"{len(block)} of" in message
    assert message.count("'down_blocks.1.") == 5 and "..." in message


def test_a_missing_tensor_reads_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_tensors(folder / TEXT, **{load_names(folder / TEXT)[0]: None})
    monkeypatch.setattr(WeightFile, "read", lambda *a, **k: pytest.fail("weights were read"))
    refused(folder)


HOSTILE = ["a\0b", "../../etc/x", "<script>alert(1)</script>", "a.__class__.__init__", "self"]


def test_extra_tensors_are_left_out_with_one_notice(folder: Path) -> None:
    edit_tensors(folder / UNET, **dict.fromkeys(HOSTILE, torch.zeros(2)))
    edit_tensors(folder / TEXT, **{"text_model/embeddings/position_ids": torch.arange(77)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_model(folder, device="cpu")
    notices = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(notices) == 1 and "6 tensors" in notices[0]
    assert "\n" not in notices[0] and "\0" not in notices[0]
    assert_weights(model)


def test_hostile_names_become_nothing(folder: Path, tmp_path: Path) -> None:
    edit_tensors(folder / UNET, **dict.fromkeys(HOSTILE, torch.zeros(2)))
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.warns(UserWarning, match="left out"):
        model = load_model(folder, device="cpu")
    assert type(model.unet).__init__.__qualname__ == "UNet.__init__"
    assert not hasattr(model.unet, "self") and not hasattr(model.unet, "a")
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_copies_of_the_moving_average_are_left_out(one_file: Path) -> None:
    extra = {f"model_ema.weight{i}": torch.zeros(2) for i in range(3)}
    edit_tensors(one_file, **extra, **{"model_ema/num_updates": torch.tensor(7)})
    with pytest.warns(UserWarning, match=r"4 tensors.*usual.*3 are a moving average.*\(EMA\)"):
        load_model(one_file, config=SMALL, device="cpu")


def test_a_wrong_shape_gives_the_name_and_both_shapes(folder: Path) -> None:
    edit_tensors(folder / UNET, **{"conv_in/weight": torch.zeros(16, 5, 3, 3)})
    message = refused(folder)
    assert "'conv_in.weight'" in message
    assert "[16, 5, 3, 3]" in message and "[16, 4, 3, 3]" in message


@pytest.mark.parametrize(
    ("width", "family"), [(768, "Stable Diffusion 1"), (1024, "2"), (2048, "XL")]
)
def test_a_wrong_shape_says_what_it_looks_like(folder: Path, width: int, family: str) -> None:
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    edit_tensors(folder / UNET, **{name: torch.zeros(16, width)})
    assert f"look like Stable Diffusion {family[-2:].strip()}" in refused(folder)


def test_an_inpainting_unet_under_an_ordinary_config(folder: Path) -> None:
    edit_tensors(folder / UNET, **{"conv_in/weight": torch.zeros(16, 9, 3, 3)})
    assert "inpainting" in refused(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_value_that_is_not_finite(folder: Path, value: float, dtype: torch.dtype) -> None:
    weight = torch.zeros(16, 4, 3, 3, dtype=dtype)
    weight[3, 2, 1, 0] = value
    edit_tensors(folder / UNET, **{"conv_in/weight": weight})
    message = refused(folder)
    assert "'conv_in.weight'" in message and "check_finite=False" in message
    loaded = load_model(folder, device="cpu", check_finite=False)
    assert not torch.isfinite(loaded.unet.conv_in.weight).all()


def test_values_too_large_for_the_chosen_type(folder: Path) -> None:
    weight = torch.full((16, 4, 3, 3), 1e39, dtype=torch.float64)
    edit_tensors(folder / UNET, **{"conv_in/weight": weight})
    message = refused(folder)
    assert "'conv_in.weight' has values up to 1e+39, too large for torch.float32" in message
    assert "Download it again" in message and "NaN" not in message


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.bool])
def test_weights_that_are_no_floats_are_refused(folder: Path, dtype: torch.dtype) -> None:
    edit_tensors(folder / UNET, **{"conv_in/weight": torch.ones(16, 4, 3, 3).to(dtype)})
    message = refused(folder)
    assert "'conv_in.weight'" in message and "floating-point" in message


@pytest.mark.parametrize(
    ("dtype", "notice"), [(torch.float64, "float64"), (torch.float8_e4m3fn, "8 bits")]
)
def test_unusual_floats_are_converted_with_a_notice(
    folder: Path, dtype: torch.dtype, notice: str
) -> None:
    edit_tensors(folder / UNET, **{"conv_in/weight": torch.ones(16, 4, 3, 3).to(dtype)})
    with pytest.warns(UserWarning, match=notice):
        assert load_model(folder, device="cpu").dtype == torch.float32


# ------------------------------------------------------------------------------------ foreign files


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["lora_unet_down_blocks_0.lora_down.weight"], "LoRA"),
        (["unet.down_blocks.0.attn.processor.to_q_lora.up.weight"], "LoRA"),
        (["first_stage_model.encoder.conv_in.weight"], "autoencoder"),
        (["encoder.conv_in.weight", "decoder.conv_in.weight"], "autoencoder"),
        (["model_ema.diffusion_modelconv_in", "model_ema.decay"], "EMA"),
        (["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"], "Flux"),
        (["double_blocks.0.img_attn.qkv.weight"], "Flux"),
        (["model.diffusion_model.joint_blocks.0.x"], "Stable Diffusion 3"),
        (["control_model.input_blocks.0.0.weight"], "ControlNet"),
        (["emb_params"], "textual inversion"),
        (["down_blocks.0.resnets.0.conv1.weight"], "UNet alone"),
        (["text_model.embeddings.token_embedding.weight"], "text encoder alone"),
        (["lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha"], "LoRA"),
        (["base_model.model.down_blocks.0.to_q.lora_A.weight"], "LoRA"),
        (["unet:0:up", "unet:0:down", "<s1>"], "LoRA"),
        (["lora_unet_a.hada_w1_a", "lora_unet_a.hada_w2_b"], "LoRA"),
        (["clip_l", "clip_g"], "textual inversion"),
        (["<cat-toy>"], "textual inversion"),
        (["text_encoders_0", "text_encoders_1"], "textual inversion"),
        (["ip_adapter.1.to_k_ip.weight", "image_proj.proj.weight"], "IP-Adapter"),
        (["1.weight", "3.conv.0.weight"], "TAESD"),
        (["decoder.layers.1.weight", "encoder.layers.0.weight"], "TAESD"),
        (["something.else", "another"], "not a diffusion model"),
    ],
)
def test_foreign_models_are_named(tmp_path: Path, names: list[str], what: str) -> None:
    tensors = {name: torch.zeros(1) for name in names}
    assert what in refused(save_tensors(tensors, tmp_path / "m.safetensors"))


_UNET = "model.diffusion_model."
_FIRST_STAGE = "first_stage_model.encoder.conv_in.weight"
_TO_K = f"{_UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        (
            {"cond_stage_model.model.ln_final.weight": (8,), _TO_K: (4, 1024),
             f"{_UNET}label_emb.0.0.weight": (4, 2048)},
            "unCLIP",
        ),
        ({"cond_stage_model.roberta.x": (4,), _TO_K: (4, 768)}, "AltDiffusion"),
        ({"cc_projection.weight": (4, 8)}, "Zero123"),
        ({"control_model.input_blocks.0.0.weight": (4, 8)}, "a ControlNet with the model"),
    ],
)  # fmt: skip
def test_other_families_are_named_by_what_their_network_is_given(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], what: str
) -> None:
    whole = {f"{_UNET}input_blocks.0.0.weight": (16, 4, 3, 3), _FIRST_STAGE: (4,), **shapes}
    tensors = {name: torch.zeros(shape) for name, shape in whole.items()}
    assert what in refused(save_tensors(tensors, tmp_path / "m.safetensors"))


@pytest.mark.parametrize(
    "stray",
    ["lora_unet_x.lora_down.weight", "double_blocks.0.x", "joint_blocks.0.x", "emb_params",
     "controlnet_x", "text_model.embeddings.token_embedding.weight", "<cat-toy>"],
)  # fmt: skip
def test_a_stray_name_does_not_make_a_whole_model_something_else(
    one_file: Path, stray: str
) -> None:
    edit_tensors(one_file, **{stray: torch.zeros(2)})
    with pytest.warns(UserWarning, match="left out"):
        assert_weights(load_model(one_file, config=SMALL, device="cpu"))


def test_a_file_without_tensors(tmp_path: Path) -> None:
    assert "no tensor" in refused(save_tensors({}, tmp_path / "m.safetensors"))
    path = tmp_path / "16 bytes.safetensors"  # a published file: an empty header and spaces
    path.write_bytes(raw_safetensors(b"{}      "))
    assert path.stat().st_size == 16
    assert "no tensor" in refused(path)


def test_a_pointer_in_place_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 4265380512\n"
    )
    message = refused(path)
    assert "Git LFS pointer" in message and "git lfs pull" in message


def test_half_a_model_in_one_file(one_file: Path) -> None:
    vae = [name for name in load_names(one_file) if name.startswith("first_stage_model.")]
    edit_tensors(one_file, **dict.fromkeys(vae, None))
    message = refused(one_file, config=SMALL)
    assert "has no autoencoder" in message and "Pass vae=" in message
    text = [name for name in load_names(one_file) if name.startswith("cond_stage_model.")]
    edit_tensors(one_file, **dict.fromkeys(text, None))
    message = refused(one_file, config=SMALL)
    assert "no autoencoder and no text encoder of width 24" in message
    assert "Pass vae= and text=" in message


def test_a_huge_sparse_file_with_a_matching_header(tmp_path: Path) -> None:
    name, shape = "model.diffusion_model.input_blocks.0.0.weight", [2**30, 4, 4, 4]
    size = 256 * 2**30
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}})
    path = tmp_path / "huge.safetensors"
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        try:
            file.truncate(8 + len(header) + size)
        except OSError:
            pytest.skip("no sparse files here")
    refused(path)


@pytest.mark.slow
def test_a_whole_model_larger_than_the_memory_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every name and shape of Stable Diffusion 1 is there, in 8.5 GB of a sparse file."""
    from sdwidgets import memory

    header, place = dict[str, Any](), 0
    for name, shape in shapes_of(SD1, "compvis").items():
        end = place + 8 * math.prod(shape)
        header[name] = {"dtype": "F64", "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header)
    path = tmp_path / "huge.safetensors"
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text.encode())
        try:
            file.truncate(8 + len(text) + place)
        except OSError:
            pytest.skip("no sparse files here")
    monkeypatch.setattr(memory, "available_memory", lambda device: 10**9)
    monkeypatch.setattr(WeightFile, "read", lambda *a, **k: pytest.fail("weights were read"))
    assert "4.26 GB" in refused(path, OutOfMemory)


def test_memory_is_looked_at_before_weights_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdwidgets import memory

    monkeypatch.setattr(memory, "available_memory", lambda device: 1_000)
    monkeypatch.setattr(WeightFile, "read", lambda *a, **k: pytest.fail("weights were read"))
    message = refused(folder, OutOfMemory)
    assert "1 kB are free" in message and "MB" in message


@pytest.mark.parametrize(
    ("error", "typed"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), CheckpointError),
        (OSError(errno.EIO, "Input/output error"), CheckpointError),
        (MemoryError(), OutOfMemory),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), OutOfMemory),
        (RuntimeError("CUDA error: out of memory"), OutOfMemory),
    ],
    ids=str,
)
def test_failures_while_reading_are_typed_and_keep_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, typed: type[SDWidgetsError]
) -> None:
    read, kept = WeightFile.read, list[weakref.ref[Tensor]]()

    def fails(self: WeightFile, *args: Any, **kwargs: Any) -> Tensor:
        if len(kept) == 20:
            raise error
        tensor = read(self, *args, **kwargs)
        kept.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(WeightFile, "read", fails)
    refused(folder, typed)
    error.__traceback__ = None  # now only this test holds it
    assert not any(reference() is not None for reference in kept)


def test_a_cache_is_asked_to_make_room(folder: Path) -> None:
    asked: list[tuple[int, str]] = []
    model = load_model(
        folder, device="cpu", make_room=lambda size, device: asked.append((size, str(device)))
    )
    assert asked == [(sum(t.nbytes for t in state(model).values()), "cpu")]


def test_stop_acts_within_one_tensor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, count = WeightFile.read, 0

    def counted(*args: Any, **options: Any) -> Tensor:
        nonlocal count
        count += 1
        return read(*args, **options)

    monkeypatch.setattr(WeightFile, "read", counted)
    with pytest.raises(Stopped):
        load_model(folder, device="cpu", stop=lambda: count == 3)
    assert count == 3


# ------------------------------------------------------------------------------------------ folders


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    assert "model_index.json" in refused(tmp_path)


def test_a_folder_around_one_file_names_it(tmp_path: Path) -> None:
    save_tensors({"x": torch.zeros(1)}, tmp_path / "sd.safetensors")
    assert "'sd.safetensors'" in refused(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["train.py", "handler.py", "scripts/convert.py", "pipeline.py", "unet/evil.py"],
)
def test_a_script_beside_a_model_is_no_part_of_it(folder: Path, name: str) -> None:
    marker = folder / "marker"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(f"open({str(marker)!r}, 'w')")
    assert load_model(folder, device="cpu").config == SMALL
    assert not marker.exists()


@pytest.mark.parametrize(
    ("file", "index", "what"),
    [
        ("pipeline.py", {"_class_name": ["pipeline", "MyPipeline"]}, "Python code of its own"),
        ("unet/evil.py", {"unet": ["evil", "UNet2DConditionModel"]}, "not on the list"),
        ("scheduler/evil.py", {"scheduler": ["evil", "DDIMScheduler"]}, "not on the list"),
    ],
)
def test_python_that_the_index_names_is_refused_and_not_run(
    folder: Path, file: str, index: dict[str, Any], what: str
) -> None:
    marker = folder / "marker"
    (folder / file).write_text(f"open({str(marker)!r}, 'w')")
    edit_json(folder / "model_index.json", **index)
    assert what in refused(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        ["antigravity", "x"],
        ["subprocess", "Popen"],
        ["os", "system"],
        ["diffusers", "evil"],
        [1, 2],
    ],
)
@pytest.mark.parametrize("part", ["unet", "new_part"])
def test_classes_that_are_not_on_the_list(folder: Path, part: str, value: list[Any]) -> None:
    edit_json(folder / "model_index.json", **{part: value})
    assert "not on the list" in refused(folder)
    assert "antigravity" not in sys.modules


def test_a_safety_checker_is_left_out(folder: Path) -> None:
    edit_json(
        folder / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    assert load_model(folder, device="cpu").config == SMALL


@pytest.mark.parametrize(
    ("pipeline", "what"),
    [
        ("StableDiffusionXLPipeline", "lacks text_encoder_2, tokenizer_2"),
        ("StableDiffusionXLInpaintPipeline", "lacks text_encoder_2, tokenizer_2"),
        ("StableDiffusion3Pipeline", "not known"),
        ("FluxPipeline", "not known"),
        (None, "not known"),
        ({"a": 1}, "not known"),
        (["pipeline", "MyPipeline"], "Python code of its own"),
    ],
)
def test_other_pipelines(folder: Path, pipeline: object, what: str) -> None:
    edit_json(folder / "model_index.json", _class_name=pipeline)
    assert what in refused(folder)


def test_a_second_text_encoder_that_the_pipeline_does_not_have(folder: Path) -> None:
    second = ["transformers", "CLIPTextModelWithProjection"]
    edit_json(folder / "model_index.json", text_encoder_2=second)
    assert "not on the list of known classes" in refused(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_part_missing_from_the_index(folder: Path, part: str) -> None:
    edit_json(folder / "model_index.json", **{part: [None, None]})
    assert f"lacks {part}" in refused(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_part_missing_from_the_folder(folder: Path, part: str) -> None:
    (folder / part).rename(folder / "elsewhere")
    assert part in refused(folder, CheckpointNotFound)


@pytest.mark.parametrize("name", ["m.ckpt", "m.pt", "m.pth", "m.bin", "m.safetensors"])
@pytest.mark.parametrize("hostile", [False, True])
def test_a_pickle_is_never_loaded_and_the_command_that_converts_it_is_named(
    tmp_path: Path, name: str, hostile: bool
) -> None:
    marker = tmp_path / "marker"
    inside = {"x": torch.ones(1), "y": Hostile(marker) if hostile else torch.ones(1)}
    torch.save({"state_dict": inside}, tmp_path / name)
    assert f"sdwidgets convert {name!r} --out 'm" in refused(tmp_path / name)
    assert not marker.exists()


class Hostile:
    """An object whose pickle would make a folder."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_weights_in_a_pickle_only(folder: Path) -> None:
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    (folder / UNET).unlink()
    assert "can run code" in refused(folder)


def test_a_text_encoder_of_another_model(folder: Path) -> None:
    edit_json(folder / "text_encoder" / "config.json", hidden_size=32)
    message = refused(folder)
    assert "two models" in message and "32" in message and "24" in message


def test_an_autoencoder_of_another_model(folder: Path) -> None:
    edit_json(folder / "vae" / "config.json", latent_channels=16)
    message = refused(folder)
    assert "two models" in message and "16 latent channels" in message


@pytest.mark.parametrize(
    ("part", "changes", "label"),
    [
        ("unet", {"transformer_layers_per_block": [32, 32], "layers_per_block": 8}, "UNet"),
        ("unet", {"layers_per_block": 8}, "UNet"),
        ("text_encoder", {"num_hidden_layers": 128}, "text encoder"),
    ],
)
def test_a_config_of_a_far_larger_network_is_refused_before_it_is_built(
    folder: Path,
    part: str,
    changes: dict[str, Any],
    label: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edit_json(folder / part / "config.json", **changes)
    monkeypatch.setattr(torch.nn.Linear, "__init__", lambda *a, **b: pytest.fail("was built"))
    message = refused(folder)
    assert f"the {label} that its config describes" in message and "do not belong" in message


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    edit_json(folder / "text_encoder" / "config.json", vocab_size=100)
    from safetensors.torch import load_file

    name = next(n for n in load_file(folder / TEXT) if n.endswith("token_embedding.weight"))
    edit_tensors(folder / TEXT, **{name: torch.zeros(100, 24)})
    assert "two different models" in refused(folder)


def test_a_tokenizer_whose_ids_exceed_the_encoders(folder: Path) -> None:
    """It has as many tokens as the encoder, but an embedding for 5,000 is not there."""
    path = folder / "tokenizer" / "vocab.json"
    vocab = json.loads(path.read_text())
    vocab["the</w>"] = 5000
    path.write_text(json.dumps(vocab))
    message = refused(folder)
    assert "521 tokens with ids up to 5,000" in message and "ids up to 520" in message


def test_a_tokenizer_with_other_ids_for_the_same_tokens_has_a_notice(folder: Path) -> None:
    path = folder / "tokenizer" / "vocab.json"
    vocab = json.loads(path.read_text())
    vocab["ca"], vocab["the</w>"] = vocab["the</w>"], vocab["ca"]
    path.write_text(json.dumps(vocab))
    with pytest.warns(UserWarning, match="not in the order of the merges"):
        model = load_model(folder, device="cpu")
    assert "two different tokenizers" in model.notices[0]


@pytest.mark.parametrize(
    ("ids", "doubt"),
    [
        ({"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}, False),  # as published, wrong
        ({"bos_token_id": None, "eos_token_id": None}, False),
        ({"eos_token_id": "x", "bos_token_id": [1]}, False),
        ({"bos_token_id": 519, "eos_token_id": 520}, False),
        ({"bos_token_id": 519, "eos_token_id": 400}, True),
        ({"bos_token_id": 518, "eos_token_id": 519}, True),
    ],
)
def test_a_config_with_other_ids_than_the_tokenizer_has_a_notice(
    folder: Path, ids: dict[str, Any], doubt: bool
) -> None:
    edit_json(folder / "text_encoder" / "config.json", **ids)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_model(folder, device="cpu")
    told = [str(w.message) for w in caught if w.category is UserWarning]
    assert told == list(model.notices) and bool(told) == doubt
    if doubt:
        assert str(ids["eos_token_id"]) in told[0] and "519 and 520" in told[0]


def test_a_tokenizer_in_one_json(folder: Path) -> None:
    write_one_file(folder / "tokenizer")
    edit = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(edit))
    model = load_model(folder, device="cpu")
    assert model.text.tokenize(["a cat"]).pieces == (("a", "cat"),)
    assert model.config == SMALL


def test_a_broken_tokenizer(folder: Path) -> None:
    for path in (folder / "tokenizer").iterdir():
        path.unlink()
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    assert "tokenizer" in refused(folder)


# ------------------------------------------------------------------------ names, devices, arguments


def test_the_bundled_model_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    write_folder(tmp_path / "emoji")
    assert load_model(device="cpu").config == SMALL


def test_an_installation_without_the_bundled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    with pytest.raises(CheckpointNotFound, match="bundled"):
        load_model()


@pytest.mark.parametrize(
    "name", ["nothing", "./owner/name", "a/b/c", "x.safetensors", "x; rm -rf", "a\0b", "y" * 300]
)
def test_names_of_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdwidgets.checkpoints.hub.fetch", lambda *a, **b: pytest.fail("was asked"))
    with pytest.raises(CheckpointNotFound) as caught:
        load_model(name)
    assert str(caught.value).isascii() and len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["", None, 5, b"emoji", "https://example.org/x.safetensors"])
def test_what_is_no_name(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdwidgets.checkpoints.hub.fetch", lambda *a, **b: pytest.fail("was asked"))
    with pytest.raises(InputError):
        load_model(name)


def test_a_hub_id_is_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def fetch(model_id: str, revision: str | None, **options: Any) -> Path:
        asked.append((model_id, revision))
        return folder

    monkeypatch.setattr("sdwidgets.checkpoints.hub.fetch", fetch)
    load_model("owner/name", revision="v1", device="cpu")
    assert asked == [("owner/name", "v1")]


@pytest.mark.parametrize(
    "options",
    [
        {"device": "gpu"},
        {"device": "cuda:99"},
        {"device": "meta"},
        {"dtype": "float13"},
        {"dtype": torch.int32},
        {"dtype": None},
        {"prediction": "noise"},
        {"revision": "main"},
        {"config": SMALL},
    ],
)
def test_arguments_that_cannot_be(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        load_model(folder, **options)
    assert caught.value.parameter == next(iter(options))


def test_what_is_predicted_can_be_said(folder: Path) -> None:
    model = load_model(folder, device="cpu", prediction="v_prediction")
    assert model.config == replace(SMALL, schedule=replace(SMALL.schedule, prediction="v"))
    assert (model.prediction, model.prediction_source) == ("v", "caller")


def test_a_folders_config_says_what_is_predicted(folder: Path) -> None:
    model = load_model(folder, device="cpu")
    assert (model.prediction, model.prediction_source) == (SMALL.schedule.prediction, "config")


def test_a_failed_load_leaves_no_file_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[WeightFile] = []
    init = WeightFile.__init__

    def watched(self: WeightFile, path: Any) -> None:
        init(self, path)
        opened.append(self)

    monkeypatch.setattr(weights.WeightFile, "__init__", watched)
    edit_tensors(folder / TEXT, **{load_names(folder / TEXT)[0]: None})
    opened.clear()
    refused(folder)
    assert len(opened) == 3 and all(file._file.closed for file in opened)


@pytest.mark.parametrize("fault", ["missing", "nan"])
def test_loading_changes_no_settings_of_torch(folder: Path, fault: str) -> None:
    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_rng_state()
    load_model(folder, device="cpu")
    broken = None if fault == "missing" else torch.full((16, 4, 3, 3), float("nan"))
    edit_tensors(folder / UNET, **{"conv_in/weight": broken})
    refused(folder)
    after = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_rng_state()
    assert before[:2] == after[:2] and torch.equal(before[2], after[2])
    assert torch.zeros(1).device.type == "cpu"


def test_a_dropped_model_is_freed_at_once(folder: Path) -> None:
    model = load_model(folder, device="cpu")
    references = [weakref.ref(tensor) for tensor in model.unet.parameters()]
    references += [weakref.ref(tensor) for tensor in model.text.model.parameters()]
    gc.disable()
    try:
        del model
        assert not any(reference() is not None for reference in references)
    finally:
        gc.enable()


def test_a_failed_load_leaves_an_older_model_as_it_was(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, device="cpu")
    before = model.generate("a cat", steps=1, seed=0).image.tobytes()
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    edit_tensors(broken / TEXT, **{next(iter(load_names(broken / TEXT))): torch.tensor(np.nan)})
    for _ in range(3):
        refused(broken)
    assert model.generate("a cat", steps=1, seed=0).image.tobytes() == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_again_and_again_takes_no_more_memory(folder: Path) -> None:
    def resident() -> int:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    size = sum(t.nbytes for part in networks().values() for t in part.state_dict().values())
    for _ in range(5):  # until caches are full
        load_model(folder, device="cpu")
    before = resident()
    for _ in range(30):
        load_model(folder, device="cpu")
    assert resident() - before < 15 * size
