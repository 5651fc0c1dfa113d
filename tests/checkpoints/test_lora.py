"""LoRAs: names, algorithms, what does not fit, stacking and taking away."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_files import (
    attention_of,
    drawn,
    is_merged,
    kohya,
    layers_of,
    named,
    pair,
    product,
    write,
)
from torch import Tensor, nn

from sdwidgets import configs
from sdwidgets.checkpoints import lora_names
from sdwidgets.checkpoints.names import compvis_unet_names
from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.unet import UNet
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Trace

Make = Callable[[ModelConfig], LatentDiffusion]


@pytest.fixture
def unet(tiny_model: LatentDiffusion) -> nn.Module:
    return tiny_model.unet


@pytest.fixture
def text(tiny_model: LatentDiffusion) -> nn.Module:
    assert tiny_model.text is not None
    return tiny_model.text.model


def weight_of(module: nn.Module, path: str) -> Tensor:
    found = module.get_submodule(path).weight
    assert isinstance(found, Tensor)
    return found


# -------------------------------------------------------------------------------------- names


def sgm(model: LatentDiffusion, path: str) -> str:
    (first, *_) = compvis_unet_names(model.config.unet)(f"{path}.weight")
    return first.name.removeprefix("model.diffusion_model.").removesuffix(".weight")


def test_every_layer_has_kohyas_name(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    unet = tiny_model.unet
    paths = layers_of(unet)
    assert len(paths) > 40 and any("resnets" in path for path in paths)
    file = write(named(unet, paths, kohya("lora_unet_")), tmp_path / "a.safetensors")
    changes = {
        path: product(*pair(weight_of(unet, path), seed=i), weight_of(unet, path))
        for i, path in enumerate(paths)
    }
    new = tiny_model.with_lora(file)
    assert is_merged(new.unet, unet, changes)
    assert new.text is not None and tiny_model.text is not None
    assert is_merged(new.text.model, tiny_model.text.model, {})


SPELLINGS: dict[str, Callable[[LatentDiffusion, str], tuple[str, str]]] = {
    "sgm": lambda m, p: kohya("lora_unet_")(sgm(m, p)),
    "lycoris": lambda m, p: kohya("lycoris_")(p),
    "twice": lambda m, p: (
        f"lora_unet_unet_{p.replace('.', '_')}_lora_down.weight",
        f"lora_unet_unet_{p.replace('.', '_')}_lora_up.weight",
    ),
    "2022": lambda m, p: (
        f"{_processor(p)}_lora.down.weight",
        f"{_processor(p)}_lora.up.weight",
    ),
    "2022 with unet": lambda m, p: (
        f"unet.{_processor(p)}_lora.down.weight",
        f"unet.{_processor(p)}_lora.up.weight",
    ),
    "2023": lambda m, p: (f"unet.{p}.lora.down.weight", f"unet.{p}.lora.up.weight"),
    "peft": lambda m, p: (f"unet.{p}.lora_A.weight", f"unet.{p}.lora_B.weight"),
    "peft, adapter's name": lambda m, p: (
        f"unet.{p}.lora_A.default_0.weight",
        f"unet.{p}.lora_B.default_0.weight",
    ),
    "peft alone": lambda m, p: (
        f"base_model.model.{p}.lora_A.weight",
        f"base_model.model.{p}.lora_B.weight",
    ),
    "comfy": lambda m, p: (
        f"diffusion_model.{sgm(m, p)}.lora_down.weight",
        f"diffusion_model.{sgm(m, p)}.lora_up.weight",
    ),
}


def _processor(path: str) -> str:
    attention, _, rest = path.rpartition(".to_")
    return f"{attention}.processor.to_{rest.removesuffix('.0')}"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_attention_has_every_programs_names(
    tiny_model: LatentDiffusion, tmp_path: Path, spelling: str
) -> None:
    unet = tiny_model.unet
    out = [p for p in layers_of(unet, "to_out") if "attn" in p]
    paths = attention_of(unet) + out
    spell = SPELLINGS[spelling]
    file = write(
        named(unet, paths, lambda path: spell(tiny_model, path)), tmp_path / "a.safetensors"
    )
    changes = {
        path: product(*pair(weight_of(unet, path), seed=i), weight_of(unet, path))
        for i, path in enumerate(paths)
    }
    assert is_merged(tiny_model.with_lora(file).unet, unet, changes)


def _old_text(path: str) -> str:
    attention, _, projection = path.rpartition(".")
    return f"text_encoder.{attention}.to_{projection.removesuffix('_proj')}_lora"


TEXT: dict[str, Callable[[str], tuple[str, str]]] = {
    "kohya": kohya("lora_te_"),
    "xl": kohya("lora_te1_"),
    "wrapped": kohya("lora_te_wrapped_transformer_"),
    "2023": lambda p: (
        f"text_encoder.{p}.lora_linear_layer.down.weight",
        f"text_encoder.{p}.lora_linear_layer.up.weight",
    ),
    "2022": lambda p: (f"{_old_text(p)}.down.weight", f"{_old_text(p)}.up.weight"),
    "peft": lambda p: (f"text_encoder.{p}.lora_A.weight", f"text_encoder.{p}.lora_B.weight"),
    "peft alone": lambda p: (
        f"base_model.model.{p}.lora_A.weight",
        f"base_model.model.{p}.lora_B.weight",
    ),
}


@pytest.mark.parametrize("spelling", TEXT)
def test_text_encoders_have_every_programs_names(
    tiny_model: LatentDiffusion, text: nn.Module, tmp_path: Path, spelling: str
) -> None:
    paths = layers_of(text, "q_proj", "out_proj")
    file = write(named(text, paths, TEXT[spelling]), tmp_path / "a.safetensors")
    changes = {
        path: product(*pair(weight_of(text, path), seed=i), weight_of(text, path))
        for i, path in enumerate(paths)
    }
    new = tiny_model.with_lora(file)
    assert new.text is not None and is_merged(new.text.model, text, changes)
    assert is_merged(new.unet, tiny_model.unet, {})


def test_the_same_name_means_the_text_encoder_that_fits(make_model: Make, tmp_path: Path) -> None:
    """PEFT writes both encoders of XL with the same names: only the widths differ."""
    from dataclasses import replace

    first = replace(TINY.text[0], width=16, heads=2, hidden=32)
    second = replace(TINY.text[0], width=16 * 2, heads=2, hidden=64)
    config = replace(
        TINY, unet=replace(TINY.unet, context_dim=48), embedders=(first, second), join="width"
    )
    model = make_model(config)
    one, two = (each.model for each in model.embedders)
    paths = layers_of(two, "q_proj")
    tensors = named(two, paths, TEXT["peft alone"])
    new = model.with_lora(write(tensors, tmp_path / "a.safetensors"))
    assert is_merged(new.embedders[0].model, one, {})
    changed = {
        path: product(*pair(weight_of(two, path), seed=i), weight_of(two, path))
        for i, path in enumerate(paths)
    }
    assert is_merged(new.embedders[1].model, two, changed)
    te2 = write(named(two, paths, kohya("lora_te2_")), tmp_path / "b.safetensors")
    assert is_merged(model.with_lora(te2).embedders[1].model, two, changed)


@pytest.mark.parametrize(
    "config", [configs.SD1, configs.SD2, configs.SDXL, configs.SDXL_REFINER, configs.BK_SDM_TINY]
)
def test_no_name_means_two_modules_of_a_network(config: ModelConfig) -> None:
    with torch.device("meta"):
        networks = [UNet(config.unet), *(CLIPText(text) for text in config.text)]
    names = [[name for name, _ in each.named_parameters()] for each in networks]
    table = lora_names.table(config.unet, config.text, names)
    for spelled, places in table.items():
        assert len({place.part for place in places}) == len(places), spelled
    some = {
        "lora_unet_down_blocks_0_resnets_0_time_emb_proj": 0,
        "lora_unet_input_blocks_1_0_emb_layers_1": 0,
        "lora_unet_conv_in": 0,
        "lora_te2_text_model_encoder_layers_0_mlp_fc1": len(config.text),
    }
    for spelled, part in some.items():
        if spelled.startswith("lora_te2") and not config.text[-1].projection_dim:
            assert spelled not in table
        else:
            assert [place.part for place in table[spelled]] == [part]


# ---------------------------------------------------------------------------- cloneofsimo's


def diffusers_order(unet: nn.Module, blocks: tuple[str, ...]) -> list[str]:
    """Return the layers of attention and GEGLU as diffusers builds them, from its own names."""
    names = {name.removesuffix(".weight") for name, w in unet.named_parameters() if w.ndim == 2}
    down = [f"down_blocks.{i}" for i in range(9)]
    up = [f"up_blocks.{i}" for i in range(9)]
    order = []
    for level in (*down, *up, "mid_block"):
        for i in range(9):
            for block in range(9):
                path = f"{level}.attentions.{i}.transformer_blocks.{block}"
                for part in blocks:
                    tails = (
                        ("net.0.proj",) if part == "ff" else ("to_q", "to_k", "to_v", "to_out.0")
                    )
                    order += [f"{path}.{part}.{tail}" for tail in tails]
    return [path for path in order if path in names]


@pytest.mark.parametrize("blocks", [("attn1", "ff", "attn2"), ("attn1", "attn2", "ff")])
def test_numbers_count_layers_as_diffusers_builds_them(
    tiny_model: LatentDiffusion, tmp_path: Path, blocks: tuple[str, ...]
) -> None:
    unet = tiny_model.unet
    paths = diffusers_order(unet, blocks)
    assert paths[-1].startswith("mid_block.")
    tensors = named(unet, paths, _numbers(paths))
    metadata = {"unet": json.dumps(["GEGLU", "CrossAttention", "Attention"])}
    file = write(tensors, tmp_path / "a.safetensors", **metadata)
    changes = {
        path: product(*pair(weight_of(unet, path), seed=i), weight_of(unet, path))
        for i, path in enumerate(paths)
    }
    assert is_merged(tiny_model.with_lora(file).unet, unet, changes)


def _numbers(paths: list[str], key: str = "unet") -> Callable[[str], tuple[str, str]]:
    return lambda path: (f"{key}:{paths.index(path)}:down", f"{key}:{paths.index(path)}:up")


def test_numbers_of_another_count_mean_no_layers(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    paths = diffusers_order(tiny_model.unet, ("attn1", "attn2"))[:4]
    file = write(named(tiny_model.unet, paths, _numbers(paths)), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="4 of 4 modules have no place"):
        tiny_model.with_lora(file)


def test_classes_that_are_unknown_are_named(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    paths = diffusers_order(tiny_model.unet, ("attn1",))
    tensors = named(tiny_model.unet, paths, _numbers(paths))
    file = write(tensors, tmp_path / "a.safetensors", unet=json.dumps(["Mystery"]))
    with pytest.raises(CheckpointError, match="Mystery"):
        tiny_model.with_lora(file)
    file = write(tensors, tmp_path / "b.safetensors", unet="[[[")
    with pytest.raises(CheckpointError, match="do not list"):
        tiny_model.with_lora(file)


def test_words_inside_are_said(
    tiny_model: LatentDiffusion, text: nn.Module, tmp_path: Path
) -> None:
    paths = layers_of(text, "k_proj", "v_proj", "q_proj", "out_proj")
    tensors = named(text, paths, _numbers(paths, "text_encoder"))
    tensors["<s1>"] = drawn(16)
    file = write(tensors, tmp_path / "a.safetensors", **{"<s1>": "<embed>"})
    model = tiny_model.with_lora(file)
    assert any("<s1>" in notice and "embeddings=" in notice for notice in model.notices)
    assert not any("<s1>" in notice for notice in model.without_lora().notices)
    changes = {
        path: product(*pair(weight_of(text, path), seed=i), weight_of(text, path))
        for i, path in enumerate(paths)
    }
    assert model.text is not None and is_merged(model.text.model, text, changes)


def test_a_bare_list_in_a_pickle(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    unet = tiny_model.unet
    paths = diffusers_order(unet, ("attn1", "ff", "attn2"))
    pairs = [pair(weight_of(unet, path), seed=i) for i, path in enumerate(paths)]
    torch.save([each for up, down in pairs for each in (up, down)], tmp_path / "lora.pt")
    changes = {
        path: product(up, down, weight_of(unet, path))
        for path, (up, down) in zip(paths, pairs, strict=True)
    }
    assert is_merged(tiny_model.with_lora(tmp_path / "lora.pt").unet, unet, changes)


# --------------------------------------------------------------------------------- algorithms

LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "mid_block.resnets.0.conv1"


def changed(
    model: LatentDiffusion, tensors: dict[str, Tensor], tmp_path: Path, path: str, **given: Any
) -> Tensor:
    """Return the change of a layer by tensors with kohya's name of it."""
    prefix = "lora_unet_" + path.replace(".", "_")
    file = write({f"{prefix}.{n}": t for n, t in tensors.items()}, tmp_path / "a.safetensors")
    new = model.with_lora(file, **given)
    return weight_of(new.unet, path).double() - weight_of(model.unet, path).double()


def close(found: Tensor, expected: Tensor, weight: Tensor) -> bool:
    """Whether a change is right to the last bits of the weight that it changed."""
    return bool((found - expected).abs().max() < 1e-6 * weight.abs().max() + 1e-7)


@pytest.mark.parametrize("path", [LINEAR, CONV])
@pytest.mark.parametrize(
    "alpha",
    [None, torch.tensor(1.0), torch.tensor([4.0]).half(), torch.tensor(6, dtype=torch.int64)],
)
def test_alpha_over_rank(
    tiny_model: LatentDiffusion, tmp_path: Path, path: str, alpha: Tensor | None
) -> None:
    weight = weight_of(tiny_model.unet, path)
    up, down = pair(weight, rank=2)
    tensors = {"lora_up.weight": up, "lora_down.weight": down}
    tensors |= {} if alpha is None else {"alpha": alpha}
    scale = 1.0 if alpha is None else alpha.item() / 2
    found = changed(tiny_model, tensors, tmp_path, path, strength=0.5)
    assert close(found, 0.5 * scale * product(up, down, weight), weight)


def test_a_linear_layer_written_as_a_convolution(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    weight = weight_of(tiny_model.unet, LINEAR)
    up, down = pair(weight)
    tensors = {"lora_up.weight": up[:, :, None, None], "lora_down.weight": down[:, :, None, None]}
    found = changed(tiny_model, tensors, tmp_path, LINEAR)
    assert close(found, product(up, down, weight), weight)


def tucker(core: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Return sum over p, q of core[p, q] up[p, o] down[q, i], by loops over the ranks."""
    total = torch.zeros(up.shape[1], down.shape[1], *core.shape[2:], dtype=torch.float64)
    for p in range(core.shape[0]):
        for q in range(core.shape[1]):
            outer = up[p].double()[:, None] * down[q].double()[None, :]
            total += outer[:, :, None, None] * core[p, q].double()
    return total


def test_tucker(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    weight = weight_of(tiny_model.unet, CONV)
    out, inputs, *kernel = weight.shape
    up, down, mid = drawn(out, 2, 1, 1), drawn(2, inputs, 1, 1), drawn(2, 2, *kernel, scale=1.0)
    tensors = {
        "lora_up.weight": up, "lora_down.weight": down, "lora_mid.weight": mid,
        "alpha": torch.tensor(1.0),
    }  # fmt: skip
    found = changed(tiny_model, tensors, tmp_path, CONV)
    expected = 0.5 * tucker(mid, up[:, :, 0, 0].T, down[:, :, 0, 0])
    assert close(found, expected, weight)


@pytest.mark.parametrize("path", [LINEAR, CONV])
def test_loha(tiny_model: LatentDiffusion, tmp_path: Path, path: str) -> None:
    weight = weight_of(tiny_model.unet, path)
    out, inputs = weight.shape[0], weight[0].numel()
    t = {
        "hada_w1_a": drawn(out, 2), "hada_w1_b": drawn(2, inputs),
        "hada_w2_a": drawn(out, 2, seed=5), "hada_w2_b": drawn(2, inputs, seed=5),
        "alpha": torch.tensor(1.0), "scalar": torch.tensor(3.0),
    }  # fmt: skip
    halves = [t[f"hada_w{n}_a"].double() @ t[f"hada_w{n}_b"].double() for n in "12"]
    expected = 1.5 * (halves[0] * halves[1]).reshape(weight.shape)
    assert close(changed(tiny_model, t, tmp_path, path), expected, weight)


def test_loha_in_tucker_form(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    weight = weight_of(tiny_model.unet, CONV)
    out, inputs, *kernel = weight.shape
    t = {
        "hada_w1_a": drawn(2, out), "hada_w1_b": drawn(2, inputs),
        "hada_w2_a": drawn(2, out, seed=5), "hada_w2_b": drawn(2, inputs, seed=5),
        "hada_t1": drawn(2, 2, *kernel, scale=1.0), "hada_t2": drawn(2, 2, *kernel, scale=2.0),
    }  # fmt: skip
    one, two = (tucker(t[f"hada_t{n}"], t[f"hada_w{n}_a"], t[f"hada_w{n}_b"]) for n in "12")
    assert close(changed(tiny_model, t, tmp_path, CONV), one * two, weight)


def kronecker(a: Tensor, b: Tensor) -> Tensor:
    """Return the blocks a[i, j] * b, put together one by one."""
    rows = []
    for i in range(a.shape[0]):
        rows.append(torch.cat([a[i, j].double() * b.double() for j in range(a.shape[1])], dim=1))
    return torch.cat(rows)


@pytest.mark.parametrize("low", ["", "1", "2", "12"])
def test_lokr_counts_alpha_only_for_low_rank_factors(
    tiny_model: LatentDiffusion, tmp_path: Path, low: str
) -> None:
    weight = weight_of(tiny_model.unet, LINEAR)
    out, inputs = weight.shape
    shapes = {"1": (4, 2), "2": (out // 4, inputs // 2)}
    t: dict[str, Tensor] = {"alpha": torch.tensor(1.0)}
    whole = {}
    for n, shape in shapes.items():
        if n in low:
            a, b = drawn(shape[0], 2, scale=0.5), drawn(2, shape[1], scale=0.5)
            t |= {f"lokr_w{n}_a": a, f"lokr_w{n}_b": b}
            whole[n] = a.double() @ b.double()
        else:
            whole[n] = t[f"lokr_w{n}"] = drawn(*shape, scale=0.3)
    scale = 0.5 if low else 1.0
    expected = scale * kronecker(whole["1"], whole["2"])
    assert close(changed(tiny_model, t, tmp_path, LINEAR), expected, weight)


@pytest.mark.parametrize("form", ["whole", "flat", "tucker"])
def test_lokr_of_convolutions(tiny_model: LatentDiffusion, tmp_path: Path, form: str) -> None:
    weight = weight_of(tiny_model.unet, CONV)
    out, inputs, *kernel = weight.shape
    t = {"lokr_w1": drawn(2, 2)}
    small = (out // 2, inputs // 2)
    if form == "whole":
        second = t["lokr_w2"] = drawn(*small, *kernel)
    elif form == "flat":
        a, b = drawn(small[0], 2), drawn(2, small[1] * math.prod(kernel))
        t |= {"lokr_w2_a": a, "lokr_w2_b": b}
        second = (a.double() @ b.double()).reshape(*small, *kernel)
    else:
        core, a, b = drawn(2, 2, *kernel, scale=1.0), drawn(2, small[0]), drawn(2, small[1])
        t |= {"lokr_w2_a": a, "lokr_w2_b": b, "lokr_t2": core}
        second = tucker(core, a, b)
    expected = kronecker(t["lokr_w1"], second)
    assert close(changed(tiny_model, t, tmp_path, CONV), expected, weight)


@pytest.mark.parametrize("path", [LINEAR, CONV])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_dora(
    tiny_model: LatentDiffusion, tmp_path: Path, path: str, axis: int, strength: float
) -> None:
    weight = weight_of(tiny_model.unet, path)
    up, down = pair(weight)
    shape = [1] * weight.ndim
    shape[axis] = weight.shape[axis]
    magnitudes = drawn(*shape, scale=1.0).abs() + 0.5
    t = {"lora_up.weight": up, "lora_down.weight": down, "dora_scale": magnitudes}
    after = weight.double() + product(up, down, weight)
    others = [i for i in range(weight.ndim) if i != axis]
    norms = after.pow(2).sum(dim=others, keepdim=True).sqrt()
    expected = strength * (magnitudes.double() * after / norms - weight.double())
    found = changed(tiny_model, t, tmp_path, path, strength=strength)
    assert close(found, expected, expected + weight)


def test_pefts_magnitudes_are_of_outputs(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    weight = weight_of(tiny_model.unet, CONV)
    up, down = pair(weight)
    magnitudes = drawn(1, weight.shape[0], 1, 1).abs() + 0.5
    file = write(
        {
            f"unet.{CONV}.lora_A.weight": down,
            f"unet.{CONV}.lora_B.weight": up,
            f"unet.{CONV}.lora_magnitude_vector": magnitudes,
        },
        tmp_path / "a.safetensors",
    )
    after = weight.double() + product(up, down, weight)
    expected = (
        magnitudes.double().reshape(-1, 1, 1, 1)
        * after
        / after.flatten(1).norm(dim=1)[:, None, None, None]
    )
    new = weight_of(tiny_model.with_lora(file).unet, CONV).double()
    assert close(new, expected, expected)


def test_full_differences_biases_and_norms(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    unet = tiny_model.unet
    weight, bias = weight_of(unet, CONV), unet.get_submodule(CONV).bias
    norm = unet.get_submodule("mid_block.resnets.0.norm1")
    conv = "lora_unet_" + CONV.replace(".", "_")
    tensors = {
        f"{conv}.diff": drawn(*weight.shape),
        f"{conv}.diff_b": drawn(weight.shape[0], seed=3),
        "lora_unet_mid_block_resnets_0_norm1.w_norm": drawn(weight.shape[1], seed=4),
        "lora_unet_mid_block_resnets_0_norm1.b_norm": drawn(weight.shape[1], seed=5),
    }
    new = tiny_model.with_lora(write(tensors, tmp_path / "a.safetensors"), 2.0).unet
    pairs = [
        (weight_of(new, CONV), weight),
        (new.get_submodule(CONV).bias, bias),
        (new.get_submodule("mid_block.resnets.0.norm1").weight, norm.weight),
        (new.get_submodule("mid_block.resnets.0.norm1").bias, norm.bias),
    ]
    for (after, before), change in zip(pairs, tensors.values(), strict=True):
        assert torch.allclose(after, before + 2 * change, rtol=1e-6, atol=1e-7)  # type: ignore[arg-type, operator]


@pytest.mark.parametrize("on_input", [False, True])
def test_ia3(tiny_model: LatentDiffusion, tmp_path: Path, on_input: bool) -> None:
    weight = weight_of(tiny_model.unet, CONV)
    vector = drawn(1, weight.shape[int(on_input)], 1, 1)
    t = {"weight": vector, "on_input": torch.tensor(int(on_input))}
    place = (1, -1, 1, 1) if on_input else (-1, 1, 1, 1)
    expected = weight.double() * vector.double().reshape(place)
    assert close(changed(tiny_model, t, tmp_path, CONV), expected, weight)


def test_glora(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    weight = weight_of(tiny_model.unet, LINEAR)
    out, inputs = weight.shape
    t = {
        "a1.weight": drawn(inputs, 2), "a2.weight": drawn(2, inputs),
        "b1.weight": drawn(out, 2), "b2.weight": drawn(2, inputs, seed=4),
        "alpha": torch.tensor(1.0),
    }  # fmt: skip
    d = {name: each.double() for name, each in t.items()}
    inside = weight.double() @ d["a1.weight"] @ d["a2.weight"]
    expected = 0.5 * (d["b1.weight"] @ d["b2.weight"] + inside)
    assert close(changed(tiny_model, t, tmp_path, LINEAR), expected, weight)


@pytest.mark.parametrize(
    ("names", "said"),
    [(("oft_blocks",), "OFT"), (("lambda_layer", "q_layer.weight"), "T-LoRA")],
)
def test_what_has_no_formula_is_refused_by_name(
    tiny_model: LatentDiffusion, tmp_path: Path, names: tuple[str, ...], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        changed(tiny_model, {name: drawn(2, 2, 2) for name in names}, tmp_path, LINEAR)


# ------------------------------------------------------------------------------------- alpha


def peft_folder(model: LatentDiffusion, folder: Path, rank: int = 2, **settings: Any) -> Path:
    spell = SPELLINGS["peft alone"]
    paths = [LINEAR, CONV]
    tensors = named(model.unet, paths, lambda path: spell(model, path), rank=rank)
    write(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **settings}))
    return folder


@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        ({"r": 4, "lora_alpha": 8}, (2, 2)),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, (4, 4)),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 2}}, (0.5, 2)),
        ({"r": 4}, (1, 1)),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_alpha_in_pefts_settings(
    tiny_model: LatentDiffusion,
    tmp_path: Path,
    settings: dict[str, Any],
    scales: tuple[float, float],
    as_file: bool,
) -> None:
    folder = peft_folder(tiny_model, tmp_path / "mine", rank=4, **settings)
    new = tiny_model.with_lora(folder / "adapter_model.safetensors" if as_file else folder)
    changes = {}
    for i, (path, scale) in enumerate(zip((LINEAR, CONV), scales, strict=True)):
        weight = weight_of(tiny_model.unet, path)
        changes[path] = scale * product(*pair(weight, 4, seed=i), weight)
    assert is_merged(new.unet, tiny_model.unet, changes)
    assert new.sources[-1].name == (
        "adapter_model.safetensors" if as_file else "mine/adapter_model.safetensors"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"peft_type": "BOFT"}, "BOFT"),
        ({"lora_alpha": "8"}, "no number"),
        ({"lora_alpha": 8, "alpha_pattern": {"(a+)+$": 2}}, "no module's name"),
        ({"lora_alpha": 8, "alpha_pattern": [1]}, "no table"),
    ],
)
def test_pefts_settings_are_not_trusted(
    tiny_model: LatentDiffusion, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        tiny_model.with_lora(peft_folder(tiny_model, tmp_path / "mine", **settings))


def test_alpha_in_diffusers_notes(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    spell = SPELLINGS["peft"]
    tensors = named(tiny_model.unet, [LINEAR, CONV], lambda p: spell(tiny_model, p))
    notes = {"unet.lora_alpha": 4, "unet.r": 2, "unet.alpha_pattern": {CONV: 1}}
    file = write(tensors, tmp_path / "a.safetensors", lora_adapter_metadata=json.dumps(notes))
    changes = {}
    for i, (path, scale) in enumerate(((LINEAR, 2.0), (CONV, 0.5))):
        weight = weight_of(tiny_model.unet, path)
        changes[path] = scale * product(*pair(weight, seed=i), weight)
    assert is_merged(tiny_model.with_lora(file).unet, tiny_model.unet, changes)


# ------------------------------------------------------------------------------ what does not fit


def a_lora(model: LatentDiffusion, path: Path, seed: int = 0, scale: float = 1.0) -> Path:
    """Write a LoRA of a linear layer, a convolution and a layer of the text encoder."""
    assert model.text is not None
    tensors = named(model.unet, [LINEAR, CONV], kohya("lora_unet_"))
    layer = layers_of(model.text.model, "q_proj")[:1]
    tensors |= named(model.text.model, layer, kohya("lora_te_"))
    tensors = {
        name: each * scale if "up" in name else each + drawn(*each.shape, seed=seed + 9)
        for name, each in tensors.items()
    }
    return write(tensors, path)


def test_another_families_lora_is_counted_and_named(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    tensors = {}
    for i in range(5):
        for kind, shape in (("down", (4, 2048)), ("up", (640, 4))):
            name = f"lora_unet_input_blocks_4_1_transformer_blocks_{i}_attn2_to_k"
            tensors[f"{name}.lora_{kind}.weight"] = drawn(*shape)
    file = write(tensors, tmp_path / "xl.safetensors")
    with pytest.raises(CheckpointError) as caught:
        tiny_model.with_lora(file)
    assert "5 of 5 modules have no place here" in str(caught.value)
    assert "Stable Diffusion XL" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_other_shapes_are_counted(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="1 of 1 have other shapes"):
        changed(
            tiny_model,
            {"lora_up.weight": drawn(3, 2), "lora_down.weight": drawn(2, 3)},
            tmp_path,
            LINEAR,
        )


@pytest.mark.parametrize(
    "tensors",
    [
        {"lora_up.weight": (32, 2)},
        {"lora_up.weight": (32, 2), "lora_down.weight": (3, 32)},
        {"lora_up.weight": (32,), "lora_down.weight": (32,)},
        {"lora_up.weight": (32, 0), "lora_down.weight": (0, 32)},
        {"lora_up.weight": (32, 90), "lora_down.weight": (90, 32)},
        {"hada_w1_a": (32, 2), "hada_w1_b": (2, 32)},
        {"lokr_w1": (32,), "lokr_w2": (1, 32)},
        {"lokr_w1_a": (4, 2), "lokr_w2": (4, 4)},
        {"weight": (32, 32)},
        {"diff": (32, 32), "lora_up.weight": (32, 2), "lora_down.weight": (2, 32)},
        {"lora_up.weight": (32, 2), "lora_down.weight": (2, 32), "alpha": (2,)},
        {"lora_up.weight": (32, 2), "lora_down.weight": (2, 32), "dora_scale": (32, 32)},
        {"lora_up.weight": (32, 2), "lora_down.weight": (2, 32), "hada_t1": (2, 2)},
    ],
)
def test_tensors_that_do_not_belong_together(
    tiny_model: LatentDiffusion, tmp_path: Path, tensors: dict[str, tuple[int, ...]]
) -> None:
    width = weight_of(tiny_model.unet, LINEAR).shape[0]
    assert width == 32
    with pytest.raises(CheckpointError, match="does not fit"):
        changed(tiny_model, {n: torch.ones(s) for n, s in tensors.items()}, tmp_path, LINEAR)


def test_a_change_of_a_bias_that_is_not_there(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="bias"):
        changed(tiny_model, {"diff_b": drawn(32)}, tmp_path, LINEAR)


@pytest.mark.parametrize("where", ["lora_up.weight", "alpha"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(
    tiny_model: LatentDiffusion, tmp_path: Path, where: str, value: float
) -> None:
    up, down = pair(weight_of(tiny_model.unet, LINEAR))
    t = {"lora_up.weight": up, "lora_down.weight": down, "alpha": torch.tensor(2.0)}
    t[where] = torch.full_like(t[where], value)
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        changed(tiny_model, t, tmp_path, LINEAR)


def test_a_model_is_no_lora(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    file = write(tiny_model.unet.state_dict(), tmp_path / "unet.safetensors")
    with pytest.raises(CheckpointError, match="cannot be applied as a LoRA"):
        tiny_model.with_lora(file)


def test_files_that_are_not_there_or_broken(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        tiny_model.with_lora(tmp_path / "none.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointNotFound, match="adapter_model"):
        tiny_model.with_lora(tmp_path / "folder")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(struct.pack("<Q", 500) + b"{}")
    with pytest.raises(CheckpointError):
        tiny_model.with_lora(cut)


@pytest.mark.parametrize("strength", [math.nan, 1e7, "1", None, True])
def test_strengths_have_limits(tiny_model: LatentDiffusion, tmp_path: Path, strength: Any) -> None:
    with pytest.raises(InputError) as caught:
        tiny_model.with_lora(a_lora(tiny_model, tmp_path / "a.safetensors"), strength)
    assert caught.value.parameter == "strength"


def test_a_weight_that_overflows_is_named(make_model: Make, tmp_path: Path) -> None:
    from dataclasses import replace

    model = make_model(TINY)
    half = replace(model, unet=model.unet.half())
    file = a_lora(model, tmp_path / "a.safetensors", scale=10.0)
    with pytest.raises(CheckpointError, match="smaller strength"):
        half.with_lora(file, 1e6)


# ------------------------------------------------------------------------- stacks, taken away


def weights(model: LatentDiffusion) -> dict[str, Tensor]:
    networks = {"unet": model.unet, "text": model.text.model if model.text else nn.Identity()}
    return {f"{n}.{k}": w for n, net in networks.items() for k, w in net.named_parameters()}


def test_taking_away_is_exact(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    one, two = (a_lora(tiny_model, tmp_path / f"{n}.safetensors", i) for i, n in enumerate("ab"))
    before = {name: each.clone() for name, each in weights(tiny_model).items()}
    both = tiny_model.with_lora(one).with_lora(two, 0.5)
    assert both.without_lora() is tiny_model
    assert all(torch.equal(before[name], each) for name, each in weights(tiny_model).items())
    alone = both.without_lora("a")
    again = tiny_model.with_lora(two, 0.5)
    assert all(torch.equal(each, weights(again)[name]) for name, each in weights(alone).items())
    assert alone.fingerprint == again.fingerprint != both.fingerprint
    with pytest.raises(InputError, match=r"b\.safetensors"):
        alone.without_lora("a")
    with pytest.raises(InputError, match="none"):
        tiny_model.without_lora()


def test_the_order_does_not_matter(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    one, two = (a_lora(tiny_model, tmp_path / f"{n}.safetensors", i) for i, n in enumerate("ab"))
    forth = weights(tiny_model.with_lora(one, 0.7).with_lora(two, -0.2))
    back = weights(tiny_model.with_loras([(two, -0.2), (one, 0.7)]))
    assert all(torch.allclose(each, back[name], atol=1e-7) for name, each in forth.items())


def test_a_stack_rounds_once(make_model: Make, tmp_path: Path) -> None:
    """Many small LoRAs that each change nothing in half precision change it together."""
    from dataclasses import replace

    model = make_model(TINY)
    half = replace(model, unet=model.unet.bfloat16())
    weight = weight_of(half.unet, LINEAR)
    change = 0.1 * weight.abs().max().item() * 2**-8
    files = [
        write(
            {f"lora_unet_{LINEAR.replace('.', '_')}.diff": torch.full(weight.shape, change)},
            tmp_path / f"{i}.safetensors",
        )
        for i in range(20)
    ]
    stacked = half
    for file in files:
        stacked = stacked.with_lora(file)
    exact = weight.double() + 20 * change
    error = (weight_of(stacked.unet, LINEAR).double() - exact).abs()
    assert (error <= 1.01 * 2**-8 * exact.abs()).all()  # half of a unit in the last place
    assert 20 * change > 1.5 * 2**-8 * weight.abs().max()  # what rounding each time would lose
    assert len(stacked.loras) == 20 and stacked.plain is half


def test_strength_zero_shares_every_weight(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    file = a_lora(tiny_model, tmp_path / "a.safetensors")
    model = tiny_model.with_lora(file, 0)
    same = weights(tiny_model)
    assert all(each is same[name] for name, each in weights(model).items())
    text_only = weights(tiny_model.with_lora(file, 0, 1.0))
    assert [name for name, each in text_only.items() if each is not same[name]] == [
        "text.text_model.encoder.layers.0.self_attn.q_proj.weight"
    ]


def test_convolutions_keep_their_memory_format(make_model: Make, tmp_path: Path) -> None:
    model = make_model(TINY)
    model.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    new = model.with_lora(a_lora(model, tmp_path / "a.safetensors"))
    assert weight_of(new.unet, CONV).is_contiguous(memory_format=torch.channels_last)
    assert not weight_of(new.unet, CONV).is_contiguous()


def test_a_file_that_has_changed_is_not_applied_again(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    one, two = (a_lora(tiny_model, tmp_path / f"{n}.safetensors", i) for i, n in enumerate("ab"))
    model = tiny_model.with_lora(one)
    write({"x.lora_up.weight": drawn(2, 2)}, one)
    with pytest.raises(CheckpointError, match="has changed since"):
        model.with_lora(two)


def test_another_autoencoder_stays_below_the_loras(
    tiny_model: LatentDiffusion, make_model: Make, tmp_path: Path
) -> None:
    file = a_lora(tiny_model, tmp_path / "a.safetensors")
    other = make_model(TINY).autoencoder
    first = tiny_model.with_autoencoder(other).with_lora(file)
    last = tiny_model.with_lora(file).with_autoencoder(other)
    assert last.autoencoder is other and last.loras == first.loras
    assert [each.kind for each in last.sources] == ["autoencoder", "lora"]
    assert all(torch.equal(each, weights(first)[name]) for name, each in weights(last).items())
    assert last.fingerprint == first.fingerprint
    taken = last.without_lora()
    assert taken.autoencoder is other and not taken.loras
    same = weights(tiny_model)
    assert all(torch.equal(each, same[name]) for name, each in weights(taken).items())


# ------------------------------------------------------------------------------------ records


def test_a_record_names_file_hash_and_strengths(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    from sdwidgets.sources import differences

    file = a_lora(tiny_model, tmp_path / "warm.safetensors")
    model = tiny_model.with_lora(file, 0.8, 0.4)
    assert model.name == tiny_model.name and "warm.safetensors" in repr(model)
    trace = model.generate("a cat", steps=2, seed=1, sampler="euler")
    trace.save(tmp_path / "run.sdtrace")
    (kept,) = Trace.load(tmp_path / "run.sdtrace").sources
    assert (kept.name, kept.kind) == ("warm.safetensors", "lora")
    assert (kept.strength, kept.text_strength) == (0.8, 0.4) and len(kept.sha256) == 64
    assert not differences([kept], model.sources)
    other = tiny_model.with_lora(file, 0.8)
    assert other.sources[-1].text_strength is None
    assert "text strength 0.4" in differences([kept], other.sources)


def test_images_change(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    given: dict[str, Any] = {"steps": 2, "seed": 1, "sampler": "euler"}
    file = a_lora(tiny_model, tmp_path / "a.safetensors", scale=5.0)
    plain = tiny_model.generate("a cat", **given).steps[-1].x_next
    model = tiny_model.with_lora(file)
    assert (model.generate("a cat", **given).steps[-1].x_next != plain).any()
    back = model.without_lora().generate("a cat", **given)
    assert (back.steps[-1].x_next == plain).all()


# ------------------------------------------------------------------------------------ loading


def test_a_model_is_loaded_with_loras(tmp_path: Path) -> None:
    from checkpoint_files import write_folder

    from sdwidgets.checkpoints import load_model

    folder = write_folder(tmp_path / "model")
    plain = load_model(folder, device="cpu")
    one, two = (a_lora(plain, tmp_path / f"{n}.safetensors", i) for i, n in enumerate("ab"))
    model = load_model(folder, device="cpu", loras=[one, (two, 0.5), (one, 0.2, 0.0)])
    same = plain.with_lora(one).with_lora(two, 0.5).with_lora(one, 0.2, 0.0)
    assert model.fingerprint == same.fingerprint
    assert [each.strength for each in model.sources if each.kind == "lora"] == [1, 0.5, 0.2]
    assert model.without_lora().fingerprint == plain.fingerprint


@pytest.mark.parametrize("loras", ["a.safetensors", [3], [("a", 1, 2, 3)], [("a", "b")], 5])
def test_a_list_of_loras_is_checked_first(loras: Any) -> None:
    from sdwidgets.checkpoints import load_model

    with pytest.raises(InputError):
        load_model("emoji", loras=loras)


def test_a_lora_that_does_not_fit_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    from checkpoint_files import write_folder

    from sdwidgets.checkpoints import load_model

    folder = write_folder(tmp_path / "model")
    strange = write({"lora_unet_x.lora_up.weight": drawn(2, 2)}, tmp_path / "a.safetensors")
    asked: list[int] = []
    with pytest.raises(CheckpointError, match="1 of 1 modules"):
        load_model(
            folder, device="cpu", loras=[strange], make_room=lambda need, device: asked.append(need)
        )
    assert not asked
