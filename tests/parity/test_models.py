"""The networks against diffusers, on random weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from references import autoencoder_of, copy_weights, relative_error, shapes, unet_of
from torch import Tensor

from sdwidgets import configs
from sdwidgets.configs import FIRST_STAGES, AutoencoderConfig, ModelConfig, UNetConfig
from sdwidgets.models.autoencoder import Autoencoder, Codes
from sdwidgets.models.layers import timestep_embedding
from sdwidgets.models.unet import UNet

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("seeded")]
pytest.importorskip("diffusers")

# The shapes of the published networks with few channels, tokens and blocks.
SMALL = {
    "sd1": UNetConfig((16, 32, 48, 48), (1, 1, 1, 0), (4, 4, 4, 4), context_dim=24, norm_groups=8),
    "sd2": UNetConfig((16, 32, 48, 48), (1, 1, 1, 0), (2, 4, 6, 6), context_dim=32, norm_groups=8),
    "sdxl": UNetConfig(
        (16, 32, 48), (0, 2, 3), (2, 4, 6), context_dim=24, vector_dim=64, norm_groups=8
    ),
    "one block": UNetConfig(
        (16, 32), (1, 1), (2, 4), blocks_per_level=1, context_dim=24, norm_groups=8
    ),
    "no middle": UNetConfig((16, 32), (1, 1), (2, 4), 1, context_dim=24, norm_groups=8, middle=0),
    "uneven": UNetConfig(
        (16, 32, 48), (0, 2, 4), (2, 4, 6), context_dim=24, norm_groups=8, middle=1,
        up_depths=((0, 0, 0), (2, 1, 1), (4, 4, 10)),
    ),
    "guidance": UNetConfig((16, 32), (1, 1), (2, 4), context_dim=24, norm_groups=8, guidance_dim=6),
    "classes": UNetConfig(
        (16, 32, 48), (0, 1, 1), (2, 4, 6), context_dim=24, norm_groups=8, classes=9,
        cross_only=(True, True, False),
    ),
    "middle depth": UNetConfig(
        (16, 32, 48), (0, 2, 0), (2, 4, 6), context_dim=24, norm_groups=8, middle_depth=3
    ),
}  # fmt: skip

# Every published network that diffusers has.
NETWORKS = {
    model.name: model for model in vars(configs).values()
    if isinstance(model, ModelConfig) and model not in (configs.TINY, configs.EMOJI, *configs.ZOO)
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_unet_names_and_shapes(name: str) -> None:
    config = NETWORKS[name].unet
    with torch.device("meta"):
        ours, theirs = UNet(config), unet_of(config, linear=config.context_dim != 768)
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("size", "batch"), [((8, 8), 1), ((8, 16), 3), ((5, 7), 3), ((9, 12), 1)])
@torch.no_grad()
def test_unet_call(name: str, size: tuple[int, int], batch: int) -> None:
    config = SMALL[name]
    ours, theirs = UNet(config).eval(), unet_of(config, linear=name != "sd1")
    copy_weights(ours, theirs)
    x, t = torch.randn(batch, 4, *size), torch.linspace(3, 987, batch)
    context = torch.randn(batch, 77, config.context_dim)
    vector, added = pooled(config, batch)
    guidance = torch.randn(batch, config.guidance_dim) if config.guidance_dim else None
    label = torch.arange(batch) + 4 if config.classes else None
    reference = theirs(
        x, t, context, added_cond_kwargs=added, timestep_cond=guidance, class_labels=label
    ).sample
    out = ours(x, t, context, vector, guidance=guidance, label=label)
    assert relative_error(out, reference) < 1e-5


@torch.no_grad()
def test_residuals_of_a_controlnet_are_added_where_diffusers_adds_them() -> None:
    config = SMALL["sd1"]
    ours, theirs = UNet(config).eval(), unet_of(config, linear=False)
    copy_weights(ours, theirs)
    x, t, context = torch.randn(2, 4, 9, 12), torch.tensor([3, 987]), torch.randn(2, 77, 24)
    sizes = [(16, 9, 12)] * 3 + [(16, 5, 6)] + [(32, 5, 6)] * 2 + [(32, 3, 3)]
    sizes += [(48, 3, 3)] * 2 + [(48, 2, 2)] * 3
    skips, middle = [torch.randn(2, *size) for size in sizes], torch.randn(2, 48, 2, 2)
    reference = theirs(
        x, t, context,
        down_block_additional_residuals=skips, mid_block_additional_residual=middle,
    ).sample  # fmt: skip
    out = ours(x, t, context, residuals=[*skips, middle])
    assert relative_error(out, reference) < 1e-5


def pooled(config: UNetConfig, batch: int) -> tuple[Tensor | None, dict[str, Tensor] | None]:
    """Return SDXL's vector for us and for diffusers: a pooled text state and six sizes."""
    if not config.vector_dim:
        return None, None
    state, sizes = torch.randn(batch, 16), torch.rand(batch, 6) * 100
    features = timestep_embedding(sizes.flatten(), 8).reshape(batch, 48)
    return torch.cat([state, features], dim=1), {"text_embeds": state, "time_ids": sizes}


@pytest.mark.parametrize("model", [configs.SD1, configs.EMOJI], ids=lambda m: m.name)
def test_autoencoder_names_and_shapes(model: ModelConfig) -> None:
    with torch.device("meta"):
        ours, theirs = Autoencoder(model.autoencoder), autoencoder_of(model.autoencoder)
    assert shapes(ours) == shapes(theirs)


@pytest.mark.parametrize("mid_attention", [True, False])
@pytest.mark.parametrize(("size", "batch"), [((16, 16), 1), ((16, 24), 3)])
@torch.no_grad()
def test_autoencoder(mid_attention: bool, size: tuple[int, int], batch: int) -> None:
    config = AutoencoderConfig(
        (8, 16, 24),
        norm_groups=4,
        mid_attention=mid_attention,
        scaling_factor=0.3,
        shift_factor=0.1,
    )
    ours, theirs = Autoencoder(config).eval(), autoencoder_of(config)
    copy_weights(ours, theirs)
    image = torch.rand(batch, 3, *size) * 2 - 1
    posterior, reference = ours.encode(image), theirs.encode(image).latent_dist
    assert relative_error(posterior.mean, (reference.mean - 0.1) * 0.3) < 1e-5
    assert relative_error(posterior.std, reference.std * 0.3) < 1e-5
    assert relative_error(posterior.kl(), reference.kl()) < 1e-5
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    assert relative_error(posterior.sample(one), (reference.sample(other) - 0.1) * 0.3) < 1e-5
    latents = torch.randn_like(posterior.mean)
    decoded = theirs.decode(latents / 0.3 + 0.1).sample
    assert relative_error(ours.decode(latents), decoded) < 1e-5


@pytest.mark.parametrize("name", FIRST_STAGES)
def test_first_stage_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = Autoencoder(FIRST_STAGES[name]), autoencoder_of(FIRST_STAGES[name])
    assert shapes(ours) == shapes(theirs)


def small(name: str) -> AutoencoderConfig:
    """Return a published first stage with few channels and codes."""
    config = FIRST_STAGES[name]
    channels = tuple(n // 16 for n in config.channels)
    return replace(config, channels=channels, norm_groups=4, codes=min(config.codes, 50))


@pytest.mark.parametrize("name", [name for name in FIRST_STAGES if name.startswith("KL")])
@torch.no_grad()
def test_kl_first_stages(name: str) -> None:
    config = small(name)
    ours, theirs = Autoencoder(config).eval(), autoencoder_of(config)
    copy_weights(ours, theirs)
    image = torch.rand(2, 3, config.factor, 2 * config.factor) * 2 - 1
    posterior, reference = ours.encode(image), theirs.encode(image).latent_dist
    assert relative_error(posterior.mean, reference.mean * config.scaling_factor) < 1e-5
    assert relative_error(ours(image), theirs(image).sample) < 1e-5


@pytest.mark.parametrize("name", [name for name in FIRST_STAGES if name.startswith("VQ")])
@torch.no_grad()
def test_vq_first_stages(name: str) -> None:
    config = small(name)
    ours, theirs = Autoencoder(config).eval(), autoencoder_of(config)
    assert ours.quantize is not None
    torch.nn.init.normal_(ours.quantize.embedding.weight)
    copy_weights(ours, theirs)
    theirs.quantize.legacy = False  # the paper's weights of the loss, like ours
    image = torch.rand(2, 3, config.factor, 2 * config.factor) * 2 - 1
    codes, reference = ours.encode(image), theirs.encode(image).latents
    assert isinstance(codes, Codes)
    assert relative_error(codes.mode(), reference) < 1e-5
    quantized, loss, (_, _, indices) = theirs.quantize(reference)
    assert torch.equal(codes.indices.flatten(), indices)
    assert relative_error(codes.quantized, quantized) < 1e-5
    torch.testing.assert_close(codes.loss, loss)
    assert relative_error(ours.decode(codes.mode()), theirs.decode(reference).sample) < 1e-5
