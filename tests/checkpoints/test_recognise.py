"""What a file is, told by names and shapes: a table of names in files, and what they mean."""

from __future__ import annotations

import pytest
from kinds_of_files import DOWN, FILES, UNET, Shapes, kohya, unet

from sdwidgets.checkpoints import bases
from sdwidgets.checkpoints.recognise import KINDS, UNKNOWN, Names, algorithms, kind_of


@pytest.mark.parametrize("title", FILES)
def test_a_file_is_what_its_names_say(title: str) -> None:
    shapes, key, family = FILES[title]
    kind = kind_of(shapes)
    assert kind is not None and kind.key == key
    assert bases.base_of(key, shapes, {}) == family


@pytest.mark.parametrize(
    "shapes",
    [
        unet(768), unet(1024), unet(2048, 2816), unet(1280, 2560),
        unet(1024, **{"conditioner/embedders/0/model/ln_final/weight": (1024,)}),
        unet(768, **{"double_blocks/0/x": (1,), "lora_unet_x/alpha": (), "emb_params": (1, 768)}),
        unet(768, **{"model_ema/diffusion_modelinput_blocks00weight": (320, 4, 3, 3)}),
        {f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3)},
    ],
)  # fmt: skip
def test_what_may_be_a_whole_model_is_none_of_these(shapes: Shapes) -> None:
    assert kind_of(shapes) is None


def test_every_row_of_the_table_is_reached() -> None:
    reached = {kind_of(shapes) for shapes, _, _ in FILES.values()}
    assert {kind.key for kind in KINDS} <= {kind.key for kind in reached if kind}


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("kohya SD1", ["LoRA"]), ("LoHa", ["LoHa"]), ("LoKr", ["LoKr"]), ("OFT", ["OFT"]),
        ("IA3", ["IA3"]), ("GLoRA", ["GLoRA"]), ("full", ["full differences"]), ("PEFT", ["LoRA"]),
        ("diffusers 2022", ["LoRA"]), ("diffusers 2023", ["LoRA"]), ("diffusers", ["LoRA"]),
        ("diffusers text", ["LoRA"]), ("cloneofsimo", ["LoRA"]), ("wrong in the wild", ["LoRA"]),
    ],
)  # fmt: skip
def test_a_lora_is_told_by_its_algorithm(title: str, expected: list[str]) -> None:
    assert [each.title for each in algorithms(FILES[title][0])] == expected


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "Stable Diffusion XL"),
        ({"ss_base_model_version": "sd_v1"}, "Stable Diffusion 1"),
        ({"ss_base_model_version": "sd_v2_v"}, "Stable Diffusion 2"),
        ({"ss_base_model_version": "flux1"}, "Flux"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "Stable Diffusion 1"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "Stable Diffusion XL"),
        ({"modelspec.architecture": "stable-diffusion-3-m"}, "Stable Diffusion 3"),
        ({"modelspec.architecture": "x" * 1000, "ss_base_model_version": ""}, ""),
        ({}, ""),
    ],
)
def test_the_notes_of_a_file_tell_where_no_width_does(
    metadata: dict[str, str], family: str
) -> None:
    shapes = FILES["OFT"][0]
    assert bases.of_lora(shapes, metadata) == family
    assert bases.of_lora(kohya(DOWN, 768), metadata) == "Stable Diffusion 1"  # widths come first


def test_names_are_compared_without_their_numbers() -> None:
    names = Names({f"down_blocks.{i}.attn2.to_k.weight": (1,) for i in range(3000)})
    assert names.some(r"^down_blocks\.#\.attn2\.to_k\.weight$")
    assert names.count("attn2") == 3000 and names.mostly("attn2")
    assert not names.some("attn1")


def test_a_decoder_of_numbers_is_no_autoencoder_of_images() -> None:
    shapes = {"encoder.0.weight": (64, 6), "decoder.0.weight": (6, 64), "decoder.0.bias": (6,)}
    assert kind_of(shapes) is UNKNOWN
