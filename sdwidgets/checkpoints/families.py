"""The families of models, and which family a network belongs to: a table of numbers.

The shapes in a file tell nearly everything about a network (see `infer`). A network of exactly a
published family's shapes is that family's. Any other belongs to the nearest family, that with the
same inputs: text states and vector of the same widths, as many channels beside the latents.
The family gives what shapes do not tell: attention heads, the noise, what the network is told, the
latents' scale. Families that differ in nothing but their training share a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import configs
from ..configs import EmbedderConfig, ModelConfig, UNetConfig


@dataclass(frozen=True)
class Family:
    """``key``: a short name for programs. ``title``: one for people. ``preset``: its config."""

    key: str
    title: str
    preset: ModelConfig

    @property
    def inputs(self) -> tuple[int, ...]:
        """(width of the context, width of the vector, channels) that its network takes, and the
        channels that it returns."""
        return _inputs(self.preset.unet)


# The first of several families with the same inputs is the usual one.
FAMILIES = (
    Family("sd1", "Stable Diffusion 1", configs.SD1),
    Family("sd1-inpainting", "Stable Diffusion 1, inpainting", configs.SD1_INPAINTING),
    Family("pix2pix", "InstructPix2Pix", configs.INSTRUCT_PIX2PIX),
    Family("lcm", "latent consistency model (Stable Diffusion 1)", configs.LCM),
    Family("bk-sdm-base", "BK-SDM base (Stable Diffusion 1, distilled)", configs.BK_SDM_BASE),
    Family("bk-sdm-small", "BK-SDM small (Stable Diffusion 1, distilled)", configs.BK_SDM_SMALL),
    Family("bk-sdm-tiny", "BK-SDM tiny (Stable Diffusion 1, distilled)", configs.BK_SDM_TINY),
    Family("sd2", "Stable Diffusion 2", configs.SD2),
    Family("bk-sdm-2-base", "BK-SDM 2 base (Stable Diffusion 2, distilled)", configs.BK_SDM_2_BASE),
    Family(
        "bk-sdm-2-small", "BK-SDM 2 small (Stable Diffusion 2, distilled)", configs.BK_SDM_2_SMALL
    ),
    Family("bk-sdm-2-tiny", "BK-SDM 2 tiny (Stable Diffusion 2, distilled)", configs.BK_SDM_2_TINY),
    Family("sd2-inpainting", "Stable Diffusion 2, inpainting", configs.SD2_INPAINTING),
    Family("sd2-depth", "Stable Diffusion 2, depth", configs.SD2_DEPTH),
    Family("x4-upscaler", "Stable Diffusion x4 upscaler", configs.X4_UPSCALER),
    Family("sdxl", "Stable Diffusion XL", configs.SDXL),
    Family("sdxl-inpainting", "Stable Diffusion XL, inpainting", configs.SDXL_INPAINTING),
    Family("sdxl-refiner", "Stable Diffusion XL refiner", configs.SDXL_REFINER),
    Family("ssd-1b", "SSD-1B (Stable Diffusion XL, distilled)", configs.SSD_1B),
    Family("vega", "Segmind Vega (Stable Diffusion XL, distilled)", configs.VEGA),
    Family("koala-700m", "KOALA 700M (Stable Diffusion XL, distilled)", configs.KOALA_700M),
    Family("koala-1b", "KOALA 1B (Stable Diffusion XL, distilled)", configs.KOALA_1B),
    # CelebA-HQ, FFHQ and LSUN bedrooms differ in nothing but their training.
    Family("ldm", "latent diffusion, unconditional (VQ-f4)", configs.LDM_CELEBAHQ),
    Family("ldm-churches", "latent diffusion, unconditional (KL-f8)", configs.LDM_CHURCHES),
    Family("ldm-imagenet", "latent diffusion, ImageNet", configs.LDM_IMAGENET),
    Family("ldm-imagenet-vq8", "latent diffusion, ImageNet (VQ-f8)", configs.LDM_IMAGENET_VQ8),
    Family("ldm-layout", "latent diffusion, layout to image", configs.LDM_LAYOUT),
    Family("ldm-text-256", "latent diffusion, text to image (VQ-f4)", configs.LDM_TEXT_256),
    Family("ldm-text", "latent diffusion, text to image", configs.LDM_TEXT),
    Family("ldm-bsr", "latent diffusion, super-resolution", configs.LDM_BSR),
    Family("ldm-landscapes", "latent diffusion, semantic synthesis", configs.LDM_LANDSCAPES_256),
    Family("ldm-inpainting", "latent diffusion, inpainting", configs.LDM_INPAINTING),
    Family("rdm", "retrieval-augmented diffusion", configs.RDM_768),
)


def is_latent_diffusions(family: Family) -> bool:
    """Whether a family was published with latent diffusion's own code."""
    return family.preset in configs.ZOO


def family_of(unet: UNetConfig, told: Sequence[type[EmbedderConfig]] = ()) -> Family | None:
    """Return the family of a network: that of its shapes, or the nearest by its inputs.

    ``told``: classes of embedders' configs, one of which goes with it; () if that is not known.
    None if no family has these inputs. Attention heads and groups of norms do not count, since
    shapes do not tell them.
    """
    known = [each for each in FAMILIES if not told or any(map(each.preset.has, told))]
    alike = [each for each in known if is_exactly(each, unet)]
    near = [each for each in known if each.inputs == _inputs(unet)]
    guided = [
        each for each in near if bool(each.preset.unet.guidance_dim) == bool(unet.guidance_dim)
    ]
    return next(iter((*alike, *guided, *near)), None)


def is_exactly(family: Family, unet: UNetConfig) -> bool:
    """Whether a network has the shapes of the published one, and not only its inputs."""
    return _shapes(family.preset.unet) == _shapes(unet)


def completed(unet: UNetConfig, family: Family) -> UNetConfig:
    """Return the config with what shapes do not tell, as in the family.

    Stable Diffusion 1 has as many attention heads at every level, others heads of one width.
    Where text states are as wide as a level's features, it is the family's matter whether the level
    attends to itself.
    """
    known = family.preset.unet
    if is_exactly(family, unet):
        return known
    levels = range(len(unet.channels))
    if len(set(known.heads)) == 1:
        heads = known.heads[:1] * len(levels)
    else:
        wide = known.channels[0] // known.heads[0]
        heads = tuple(max(width // wide, 1) for width in unet.channels)
    read, cross = unet.cross_only, known.cross_only
    if any(read) and len(cross) == len(levels):
        doubtful = [unet.channels[i] == unet.context_dim or not unet.depths[i] for i in levels]
        unet = replace(unet, cross_only=tuple(cross[i] if doubtful[i] else read[i] for i in levels))
    return replace(unet, heads=heads)


def _inputs(unet: UNetConfig) -> tuple[int, ...]:
    return unet.context_dim, unet.vector_dim, unet.in_channels, unet.out_channels


def _shapes(unet: UNetConfig) -> UNetConfig:
    """The config without what shapes do not tell, and in a single spelling."""
    up = unet.up_depths or tuple((n,) * (unet.blocks_per_level + 1) for n in unet.depths)
    return replace(
        unet, heads=(), norm_groups=0, cross_only=(), up_depths=up, middle_depth=unet.mid_depth
    )
