"""The nine published autoencoders against their settings, tensors and formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from first_stages import PUBLISHED, Reference, random_tensors, small, tensors_of
from references import relative_error
from small_autoencoders import small_first_stage

from sdwidgets.checkpoints.names import compvis_autoencoder_names
from sdwidgets.configs import FIRST_STAGES, SD1, AutoencoderConfig
from sdwidgets.models.autoencoder import Autoencoder, Codes

pytestmark = pytest.mark.usefixtures("seeded")
NINE = pytest.mark.parametrize("name", FIRST_STAGES)

# Sums over `tensors_of`, whose shapes follow from the published settings alone.
PARAMETERS = {
    "KL-f4": 55_312_063,
    "KL-f8": 83_653_863,
    "KL-f16": 69_610_963,
    "KL-f32": 103_880_131,
    "VQ-f4": 55_322_782,
    "VQ-f4-noattn": 53_219_486,
    "VQ-f8": 67_717_295,
    "VQ-f8-n256": 67_652_783,
    "VQ-f16": 69_593_371,
}


def small_config(name: str) -> AutoencoderConfig:
    """Return ours of `small(PUBLISHED[name])`, with a scale and a shift that have an effect."""
    return replace(small_first_stage(name), scaling_factor=0.7, shift_factor=0.2)


def ours_and_reference(name: str) -> tuple[Autoencoder, Reference]:
    p, config = small(PUBLISHED[name]), small_config(name)
    tensors = random_tensors(p)
    ours, lookup = Autoencoder(config), compvis_autoencoder_names(config, "")
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    state = {name: tensors[lookup(name)[0].name].reshape(shapes[name]) for name in shapes}
    ours.load_state_dict(state, strict=True)
    return ours.eval(), Reference(p, tensors)


def picture(name: str) -> torch.Tensor:
    side = FIRST_STAGES[name].factor
    return torch.rand(2, 3, 2 * side, 3 * side) * 2 - 1


def test_all_nine_are_there() -> None:
    assert list(FIRST_STAGES) == list(PUBLISHED)
    assert FIRST_STAGES["KL-f8"] == SD1.autoencoder


@NINE
def test_tensors_have_the_published_names_and_shapes(name: str) -> None:
    config = FIRST_STAGES[name]
    with torch.device("meta"):
        state = Autoencoder(config).state_dict()
    lookup = compvis_autoencoder_names(config, "")
    ours = {lookup(name)[0].name: tuple(tensor.shape) for name, tensor in state.items()}
    flat = {  # 1x1 convolutions of attention are linear layers here
        name: shape[:2] if ".attn" in name and len(shape) == 4 else shape
        for name, shape in tensors_of(PUBLISHED[name]).items()
    }
    assert ours == flat


@NINE
def test_parameters_are_as_many_as_the_published_shape_has(name: str) -> None:
    with torch.device("meta"):
        autoencoder = Autoencoder(FIRST_STAGES[name])
    counted = sum(math.prod(shape) for shape in tensors_of(PUBLISHED[name]).values())
    assert sum(p.numel() for p in autoencoder.parameters()) == counted == PARAMETERS[name]


@NINE
def test_the_name_says_the_factor_and_the_kind(name: str) -> None:
    kind, factor, *_ = name.split("-")
    assert FIRST_STAGES[name].factor == int(factor[1:])
    assert (FIRST_STAGES[name].codes > 0) == (kind == "VQ")


@NINE
@torch.no_grad()
def test_encoding_is_the_reference_formula(name: str) -> None:
    ours, reference = ours_and_reference(name)
    image = picture(name)
    posterior, moments = ours.encode(image), reference.moments(image)
    mean = moments if FIRST_STAGES[name].codes else moments.chunk(2, dim=1)[0]
    assert relative_error(posterior.mode(), (mean - 0.2) * 0.7) < 1e-4
    if isinstance(posterior, Codes):
        quantised, indices = reference.quantised(moments)
        assert torch.equal(posterior.indices, indices)
        assert relative_error(posterior.quantized, (quantised - 0.2) * 0.7) < 1e-6
    else:
        deviation = torch.exp(0.5 * moments.chunk(2, dim=1)[1])
        assert relative_error(posterior.std, deviation * 0.7) < 1e-4


@NINE
@torch.no_grad()
def test_decoding_is_the_reference_formula(name: str) -> None:
    ours, reference = ours_and_reference(name)
    z = torch.randn(2, ours.config.latent_channels, 2, 3)
    expected = reference.decoded(reference.quantised(z)[0] if ours.config.codes else z)
    assert relative_error(ours.decode((z - 0.2) * 0.7), expected) < 1e-4


@NINE
@torch.no_grad()
def test_a_picture_and_back_is_the_reference_formula(name: str) -> None:
    ours, reference = ours_and_reference(name)
    image = picture(name)
    z = reference.moments(image)
    z = reference.quantised(z)[0] if ours.config.codes else z.chunk(2, dim=1)[0]
    assert relative_error(ours(image), reference.decoded(z)) < 1e-4


@pytest.mark.parametrize("codes", [0, 20])
@pytest.mark.parametrize("levels", [2, 3, 4, 5, 6])
@torch.no_grad()
def test_any_factor_comes_in_both_kinds(levels: int, codes: int) -> None:
    config = AutoencoderConfig((4,) * levels, 1, norm_groups=2, codes=codes, attention_levels=(1,))
    image = torch.rand(1, 3, 32, 64)
    autoencoder = Autoencoder(config)
    latents = autoencoder.encode(image).mode()
    assert latents.shape == (1, 4, 32 // config.factor, 64 // config.factor)
    assert autoencoder.decode(latents).shape == image.shape
