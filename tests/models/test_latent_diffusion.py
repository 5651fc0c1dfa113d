"""Latent diffusion's networks and samplers against what its own code returned; see
tests/golden/README.md."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import count

import compvis
import pytest
import torch
from compvis import values
from references import relative_error
from safetensors.torch import load_file
from torch import Tensor

from sdwidgets.checkpoints.names import compvis_autoencoder_names, compvis_unet_names
from sdwidgets.configs import AutoencoderConfig, ClassifierConfig, UNetConfig
from sdwidgets.diffusion import SAMPLERS, Denoiser, NoiseSchedule
from sdwidgets.errors import InputError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.classifier import NoisyClassifier
from sdwidgets.models.unet import UNet

PLAIN = UNetConfig(
    (32, 64), (0, 1), (1, 2), 1, context_dim=0, in_channels=3, out_channels=3, transformers=False
)
CROSS = UNetConfig((32, 64), (0, 1), (1, 2), 1, context_dim=24, in_channels=3, out_channels=3)
NETWORKS = {
    "celebahq": PLAIN,
    "new order": PLAIN,
    "churches": replace(
        PLAIN, channels=(32, 64, 64), depths=(1, 1, 0), heads=(4, 4, 4), in_channels=4,
        out_channels=4, scale_shift=True, resample_blocks=True,
    ),
    "imagenet vq8": replace(CROSS, depths=(1, 1), in_channels=4, out_channels=4),
    "imagenet": replace(CROSS, heads=(1, 1)),
    "text": replace(CROSS, channels=(32, 64, 64), depths=(1, 1, 0), heads=(4, 4, 4)),
    "layout": replace(CROSS, depths=(0, 3)),
    "landscapes": replace(PLAIN, depths=(0, 0), heads=(4, 4), in_channels=6),
    "super-resolution": replace(PLAIN, in_channels=6),
    "inpainting": replace(PLAIN, heads=(4, 4), in_channels=7, resample_blocks=True),
}  # fmt: skip
CLASSIFIER = ClassifierConfig(PLAIN, tuple("abcde"), side=8)
POOLS = ("attention", "adaptive", "spatial", "spatial_v2")
VQ = AutoencoderConfig((32, 64), 1, latent_channels=3, scaling_factor=1.0, codes=16)
STAGES = {
    "vq": VQ,
    "vq noattn": replace(VQ, mid_attention=False),
    "kl": replace(VQ, codes=0, latent_channels=4, attention_levels=(1,)),
}
SCHEDULE = NoiseSchedule.from_betas(beta_start=0.0015, beta_end=0.0195)
STEPS = 8


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(compvis.GOLDEN)


@cache
def unet(name: str) -> UNet:
    config = NETWORKS[name]
    names = compvis.unet_names(config)
    filled = compvis.filled(UNet(config), names, new_order=name == "new order")
    assert isinstance(filled, UNet)
    return filled


def context(config: UNetConfig, name: str = "context") -> Tensor | None:
    return values(name, (2, 5, config.context_dim)) if config.context_dim else None


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_networks(golden: dict[str, Tensor], name: str) -> None:
    config = NETWORKS[name]
    x = values("x", (2, config.in_channels, 8, 12))
    out = unet(name)(x, torch.tensor([3.0, 987.0]), context(config))
    assert relative_error(out, golden[f"unet.{name}"]) < 1e-5


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "new order"])
def test_files_are_read_as_these_networks(name: str) -> None:
    network = unet(name)
    theirs = compvis.tensors(network, compvis.unet_names(network.config))
    lookup, used = compvis_unet_names(network.config, ""), set()
    for key, tensor in network.state_dict().items():
        place = lookup(key)[0]
        found = theirs[place.name].unflatten(0, (place.groups, place.parts, -1))[:, place.part]
        assert torch.equal(found.reshape(tensor.shape), tensor), key
        used.add(place.name)
    assert used == set(theirs)


def classifier(pool: str) -> NoisyClassifier:
    config = replace(CLASSIFIER, pool=pool)
    names = compvis.classifier_names(config)
    filled = compvis.filled(NoisyClassifier(config), names, new_order=False)
    assert isinstance(filled, NoisyClassifier)
    return filled


@pytest.mark.parametrize("pool", POOLS)
@torch.no_grad()
def test_classifiers(golden: dict[str, Tensor], pool: str) -> None:
    logits = classifier(pool)(values("x", (2, 3, 8, 8)), torch.tensor([3.0, 987.0]))
    assert logits.shape == (2, 5)
    assert relative_error(logits, golden[f"classifier.{pool}"]) < 1e-5


def test_the_gradient_of_a_class_reaches_the_latents() -> None:
    x = values("x", (2, 3, 8, 8)).requires_grad_()
    logits = classifier("attention")(x, torch.tensor(500.0))
    (gradient,) = torch.autograd.grad(logits.log_softmax(1)[:, 2].sum(), x)
    assert gradient.abs().amax((1, 2, 3)).min() > 0


def test_a_classifier_with_positions_has_a_size_of_its_own() -> None:
    x = values("x", (1, 3, 16, 8))
    with pytest.raises(InputError, match="4 x 4 cells"):
        classifier("attention")(x, torch.tensor(1.0))
    assert classifier("adaptive")(x, torch.tensor(1.0)).shape == (1, 5)


def stage(name: str) -> Autoencoder:
    ours, names = Autoencoder(STAGES[name]), compvis_autoencoder_names(STAGES[name], "")
    shapes = {key: tuple(tensor.shape) for key, tensor in ours.state_dict().items()}
    ours.load_state_dict(
        {key: compvis.weight(names(key)[0].name, shape) for key, shape in shapes.items()}
    )
    return ours.eval()


@pytest.mark.parametrize("name", STAGES)
@torch.no_grad()
def test_first_stages(golden: dict[str, Tensor], name: str) -> None:
    ours, key = stage(name), f"first stage.{name}"
    latents = ours.encode(values("image", (1, 3, 8, 12))).mode()
    assert relative_error(latents, golden[f"{key}.encode"]) < 1e-5
    z = values("z", tuple(latents.shape))
    assert relative_error(ours.decode(z), golden[f"{key}.decode"]) < 1e-5
    if ours.config.codes:
        assert relative_error(ours.decode(z, quantize=False), golden[f"{key}.whole"]) < 1e-5


def run(name: str, sampler: str, *, scale: float | None = None, **options: float) -> Tensor:
    """Return what `STEPS` steps make of noise, as the network sees it at the last level."""
    config, network = NETWORKS[name], unet(name)
    seen = values("beside", (2, config.in_channels - config.out_channels, 8, 8))
    told = context(config)
    if scale is not None:
        told = torch.cat([told, context(config, "nothing")])  # type: ignore[list-item]

    def predict(x: Tensor, t: Tensor) -> Tensor:
        return network(torch.cat([x, seen.repeat(len(x) // 2, 1, 1, 1)], dim=1), t, told)

    sigmas = SCHEDULE.ddim(STEPS)
    x = values("noise", (2, config.out_channels, 8, 8)) * (1 + float(sigmas[0]) ** 2) ** 0.5
    numbers = count()

    def noise() -> Tensor:
        return values(f"noise {next(numbers)}", tuple(x.shape))

    denoise = Denoiser(predict, SCHEDULE, guidance_scale=scale)
    *_, last = SAMPLERS[sampler](denoise, x, sigmas, noise=noise, **options)
    return last.x_next / (1 + last.sigma_next**2) ** 0.5


RUNS = {
    "churches ddim": ("churches", "ddim", None, {"eta": 0.0}),
    "churches ddim eta": ("churches", "ddim", None, {"eta": 1.0}),
    "churches plms": ("churches", "plms", None, {}),
    "inpainting ddim": ("inpainting", "ddim", None, {"eta": 0.0}),
    "imagenet ddim": ("imagenet", "ddim", 3.0, {"eta": 0.0}),
    "imagenet ddim eta": ("imagenet", "ddim", 3.0, {"eta": 1.0}),
    "imagenet plms": ("imagenet", "plms", 3.0, {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs(golden: dict[str, Tensor], name: str) -> None:
    network, sampler, scale, options = RUNS[name]
    latents = run(network, sampler, scale=scale, **options)
    assert relative_error(latents, golden[f"run.{name}"]) < 1e-3
