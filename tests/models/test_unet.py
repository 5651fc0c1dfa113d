from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

from sdwidgets import configs
from sdwidgets.configs import ModelConfig, UNetConfig
from sdwidgets.errors import InputError
from sdwidgets.models.attention import Attention, looking
from sdwidgets.models.unet import UNet, zero_residuals

pytestmark = pytest.mark.usefixtures("seeded")

CONFIG = configs.TINY.unet


@pytest.fixture
def unet(seeded: None) -> Iterator[UNet]:
    yield UNet(CONFIG).eval()


def inputs(size: tuple[int, int] = (8, 8), batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    t = torch.linspace(1, 999, batch)
    return torch.randn(batch, 4, *size), t, torch.randn(batch, 7, CONFIG.context_dim)


def parameters(config: UNetConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(config).parameters())


# Stable Diffusion 1's is exact, as published; those of the others agree with the rounded numbers in
# their papers and model cards: BK-SDM (arXiv 2305.15798, table 1), KOALA (arXiv 2312.04005, table
# 2), SSD-1B and Vega (arXiv 2401.02677, table 1), SDXL and its refiner (arXiv 2307.01952).
@pytest.mark.parametrize(
    ("model", "number"),
    [
        (configs.SD1, 859_520_964),
        (configs.SD1_INPAINTING, 859_535_364),
        (configs.INSTRUCT_PIX2PIX, 859_532_484),
        (configs.LCM, 859_602_884),
        (configs.BK_SDM_BASE, 579_384_964),
        (configs.BK_SDM_SMALL, 482_346_884),
        (configs.BK_SDM_TINY, 323_384_964),
        (configs.SD2, 865_910_724),
        (configs.SD2_INPAINTING, 865_925_124),
        (configs.SD2_DEPTH, 865_913_604),
        (configs.X4_UPSCALER, 473_398_020),
        (configs.SDXL, 2_567_463_684),
        (configs.SDXL_INPAINTING, 2_567_478_084),
        (configs.SDXL_REFINER, 2_259_526_660),
        (configs.SSD_1B, 1_331_334_404),
        (configs.VEGA, 745_225_604),
        (configs.KOALA_700M, 782_822_724),
        (configs.KOALA_1B, 1_161_184_324),
        # as counted in the network's class of latent diffusion's code, built from each config
        (configs.LDM_CELEBAHQ, 274_056_163),
        (configs.LDM_FFHQ, 274_056_163),
        (configs.LDM_BEDROOMS, 274_056_163),
        (configs.LDM_CHURCHES, 294_966_916),
        (configs.LDM_IMAGENET_VQ8, 394_984_196),
        (configs.LDM_IMAGENET, 400_920_579),
        (configs.LDM_TEXT_256, 403_623_939),
        (configs.LDM_TEXT, 872_300_484),
        (configs.LDM_LAYOUT, 246_277_379),
        (configs.LDM_LANDSCAPES_256, 215_229_315),
        (configs.LDM_LANDSCAPES_512, 215_229_315),
        (configs.LDM_BSR, 113_622_563),
        (configs.LDM_INPAINTING, 387_245_827),
        (configs.RDM_768, 1_335_480_400),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_published_numbers_of_parameters(model: ModelConfig, number: int) -> None:
    assert parameters(model.unet) == number


FAMILIES = {model.name: model for model in vars(configs).values() if isinstance(model, ModelConfig)}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_network_takes_what_the_embedders_make(name: str) -> None:
    model = FAMILIES[name]
    unet = model.unet
    assert unet.context_dim == model.context_width
    assert unet.vector_dim == model.vector_width
    assert unet.in_channels == model.autoencoder.latent_channels + model.concat_width
    assert unet.out_channels == model.autoencoder.latent_channels
    assert len(unet.channels) == len(unet.depths) == len(unet.heads)


@pytest.mark.parametrize("size", [(8, 8), (4, 12), (5, 7), (1, 1)])
@torch.no_grad()
def test_any_size_comes_back_as_it_went_in(unet: UNet, size: tuple[int, int]) -> None:
    x, t, context = inputs(size)
    assert unet(x, t, context).shape == x.shape


@torch.no_grad()
def test_one_timestep_serves_a_batch(unet: UNet) -> None:
    x, _, context = inputs()
    many = unet(x, torch.tensor([500, 500]), context)
    assert torch.equal(unet(x, torch.tensor(500), context), many)


@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other(unet: UNet) -> None:
    x, t, context = inputs(batch=3)
    batch = unet(x, t, context)
    torch.testing.assert_close(batch[1:2], unet(x[1:2], t[1:2], context[1:2]))


@torch.no_grad()
def test_channels_last_gives_the_same_result(unet: UNet) -> None:
    x, t, context = inputs()
    plain = unet(x, t, context)
    unet.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(unet(x, t, context), plain)


def test_inference_is_bit_for_bit_what_training_computes(unet: UNet) -> None:
    x, t, context = inputs()
    before = x.clone()
    with torch.no_grad():
        inference = unet(x, t, context)
    assert torch.equal(unet(x, t, context), inference)
    assert torch.equal(x, before)


def test_every_parameter_gets_a_gradient(unet: UNet) -> None:
    unet(*inputs()).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in unet.parameters())


@torch.no_grad()
def test_cross_attentions_are_named_in_the_order_they_run(unet: UNet) -> None:
    seen: list[str] = []
    cross = unet.cross_attentions()
    names = {attention: name for name, attention in cross.items()}
    with looking(lambda layer, *_: seen.append(names[layer]) if layer in names else None):
        unet(*inputs())
    assert seen == list(cross)
    assert all(unet.get_submodule(name) is attention for name, attention in cross.items())


@torch.no_grad()
def test_recording_does_not_change_the_image(unet: UNet) -> None:
    x, t, context = inputs((5, 7))
    plain = unet(x, t, context)
    shapes = []
    with looking(lambda *what: None if what[-1] is None else shapes.append(what[-1].shape)):
        assert torch.equal(unet(x, t, context), plain)
    assert shapes[0] == (2, CONFIG.heads[0], 5 * 7, 7)
    assert shapes[1] == (2, CONFIG.heads[1], 3 * 4, 7)


@torch.no_grad()
def test_the_vector_conditions_the_result() -> None:
    unet = UNet(UNetConfig((8,), (1,), (2,), 1, context_dim=24, vector_dim=5, norm_groups=4))
    x, t, context = inputs()
    one, other = (unet(x, t, context, torch.full((2, 5), v)) for v in (0.0, 1.0))
    assert not torch.allclose(one, other)


def test_a_missing_context_or_vector_is_named(unet: UNet) -> None:
    x, t, context = inputs()
    with pytest.raises(InputError, match="context"):
        unet(x, t)
    pooled = UNet(UNetConfig((8,), (1,), (2,), 1, context_dim=24, vector_dim=5, norm_groups=4))
    with pytest.raises(InputError, match="vector"):
        pooled(x, t, context)


@torch.no_grad()
def test_a_network_without_words_needs_no_context() -> None:
    unet = UNet(UNetConfig((8, 16), (0, 1), (2, 2), 1, context_dim=0, norm_groups=4))
    x, t, _ = inputs()
    assert unet(x, t).shape == x.shape
    assert unet.cross_attentions() == {}


# Networks of the variants of Stable Diffusion, at small scale.
CONDITIONED = UNetConfig((8,), (1,), (2,), 1, context_dim=24, norm_groups=4)


@torch.no_grad()
def test_the_guidance_scale_and_the_class_condition_the_result() -> None:
    x, t, context = inputs()
    distilled = UNet(replace(CONDITIONED, guidance_dim=6))
    one, other = (distilled(x, t, context, guidance=torch.full((2, 6), v)) for v in (0.0, 1.0))
    assert not torch.allclose(one, other)
    upscaler = UNet(replace(CONDITIONED, classes=9))
    labels = torch.tensor([2, 8])
    out = upscaler(x, t, context, label=labels)
    swapped = upscaler(x, t, context, label=labels.flip(0))
    assert not torch.allclose(out, swapped)
    torch.testing.assert_close(upscaler(x[:1], t[:1], context[:1], label=labels[:1]), out[:1])


def test_a_missing_guidance_or_class_is_named() -> None:
    x, t, context = inputs()
    with pytest.raises(InputError, match="guidance"):
        UNet(replace(CONDITIONED, guidance_dim=6))(x, t, context)
    with pytest.raises(InputError, match="label"):
        UNet(replace(CONDITIONED, classes=9))(x, t, context)


@torch.no_grad()
def test_residuals_are_added_to_the_skips_and_to_the_middle(unet: UNet) -> None:
    x, t, context = inputs((5, 7))
    plain = unet(x, t, context)
    # conv_in, a block and a downsampler at level 0, a block at level 1, and the middle
    sizes = [(16, 5, 7), (16, 5, 7), (16, 3, 4), (32, 3, 4), (32, 3, 4)]
    nothing = [torch.zeros(2, *size) for size in sizes]
    assert torch.equal(unet(x, t, context, residuals=nothing), plain)
    results = [plain]
    for i in range(len(sizes)):
        changed = [r + (j == i) for j, r in enumerate(nothing)]
        results.append(unet(x, t, context, residuals=changed))
    assert all(not torch.allclose(a, b) for a, b in combinations(results, 2))


def test_too_few_residuals_are_counted(unet: UNet) -> None:
    with pytest.raises(InputError, match=r"takes 5 residuals.* got 1"):
        unet(*inputs(), residuals=[torch.zeros(2, 16, 8, 8)])


@pytest.mark.parametrize(
    ("middle", "names"),
    [(0, set()), (1, {"resnets.0"}), (2, {"resnets.0", "attentions.0", "resnets.1"})],
)
@torch.no_grad()
def test_the_middle_may_be_small_or_missing(middle: int, names: set[str]) -> None:
    unet = UNet(replace(CONFIG, middle=middle))
    inner = [name.removeprefix("mid_block.") for name in unet.state_dict() if "mid_block" in name]
    assert {".".join(name.split(".")[:2]) for name in inner} == names
    x, t, context = inputs((5, 7))
    assert unet(x, t, context).shape == x.shape


@torch.no_grad()
def test_depths_may_be_uneven() -> None:
    config = replace(CONFIG, up_depths=((1, 2), (3, 1)), middle_depth=2)
    unet = UNet(config)
    depths = [
        [len(attention.transformer_blocks) for attention in level.attentions]
        for level in (*unet.down_blocks, unet.mid_block, *unet.up_blocks)
    ]
    assert depths == [[1], [1], [2], [3, 1], [1, 2]]
    x, t, context = inputs((5, 7))
    assert unet(x, t, context).shape == x.shape


@torch.no_grad()
def test_levels_without_self_attention_attend_to_the_words_twice() -> None:
    unet = UNet(replace(CONFIG, cross_only=(True, False)))
    cross, own = unet.cross_attentions(), unet.self_attentions()
    first = "down_blocks.0.attentions.0.transformer_blocks.0.attn"
    assert {f"{first}1", f"{first}2"} <= set(cross)
    assert {name.split(".attentions")[0] for name in own} == {
        "down_blocks.1", "mid_block", "up_blocks.0",
    }  # fmt: skip
    seen: list[str] = []
    names = {layer: name for name, layer in (cross | own).items()}

    def look(layer: Attention, *what: Tensor | None) -> None:
        seen.append(names[layer])
        assert (what[-1] is not None) == (names[layer] in cross)

    with looking(look):
        unet(*inputs((5, 7)))
    assert [name for name in seen if name in cross] == list(cross)
    assert [name for name in seen if name in own] == list(own)


# Latent diffusion's networks without transformers, at small scale.
PLAIN = UNetConfig(
    (8, 16, 16), (0, 1, 1), (1, 2, 4), 1, context_dim=0, norm_groups=4, transformers=False
)
CHURCHES = replace(PLAIN, scale_shift=True, resample_blocks=True)


@pytest.mark.parametrize("config", [PLAIN, CHURCHES], ids=["plain", "churches"])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 1)])
@torch.no_grad()
def test_networks_without_transformers_take_any_size(
    config: UNetConfig, size: tuple[int, int]
) -> None:
    unet = UNet(config)
    x, t, context = inputs(size)
    out = unet(x, t)
    assert out.shape == x.shape
    assert not torch.allclose(out, unet(x, t + 500))
    assert torch.equal(unet(x, t, context), out)  # it reads no words
    assert unet.cross_attentions() == {}


def test_every_parameter_of_a_network_without_transformers_gets_a_gradient() -> None:
    unet = UNet(CHURCHES)
    x, t, _ = inputs()
    unet(x, t).square().mean().backward()
    # A key's bias shifts all scores of a row equally, which the softmax cancels.
    named = {n: p for n, p in unet.named_parameters() if not n.endswith("to_k.bias")}
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in named.values())
    zero_residuals(unet)
    assert torch.equal(unet(x, t), torch.zeros_like(x))


@torch.no_grad()
def test_the_self_attentions_of_a_network_without_transformers_can_be_seen() -> None:
    unet = UNet(PLAIN)
    own = {layer: name for name, layer in unet.self_attentions().items()}
    seen: list[str] = []
    x, t, _ = inputs()
    plain = unet(x, t)
    with looking(lambda layer, *_: seen.append(own[layer])):
        assert torch.equal(unet(x, t), plain)
    assert seen == [*own.values()]
    assert {name.split(".attentions")[0] for name in seen} == {
        "down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1",
    }  # fmt: skip


def test_zeroed_residuals_predict_zero_and_still_learn(unet: UNet) -> None:
    zero_residuals(unet)
    out = unet(*inputs())
    assert torch.equal(out, torch.zeros_like(out))
    (out - 1).square().mean().backward()
    assert unet.conv_out.weight.grad is not None
    assert unet.conv_out.weight.grad.abs().max() > 0


@torch.no_grad()
@pytest.mark.slow
def test_it_compiles_in_one_graph(unet: UNet) -> None:
    compiled = torch.compile(unet, backend="eager", fullgraph=True)
    x, t, context = inputs()
    torch.testing.assert_close(compiled(x, t, context), unet(x, t, context))
