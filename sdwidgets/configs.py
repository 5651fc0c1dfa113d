"""What a model is, in numbers: frozen dataclasses and the presets made of them.

A config is plain data. Models of the same family differ only in their config, so a new model size
is a new preset at the end of this file. Nothing here imports torch.

Sources: "High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv 2112.10752) for the
family; the published configurations of Stable Diffusion 1, 2 and XL (arXiv 2307.01952) for the
presets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from .class_names import COCO_STUFF, IMAGENET, OPEN_IMAGES

Prediction = Literal["eps", "v", "x0", "flow"]
PredictionSource = Literal["", "config", "file", "family", "caller", "training"]
"""How it was decided what a model predicts: its config file says so ("config"), the file of its
weights does ("file"), neither does and its family's usual one is taken ("family"), it was asked for
("caller"), or it was trained here ("training"); "" means unknown."""
DECIDED: Mapping[PredictionSource, str] = {
    "config": "its config says so",
    "file": "its weights say so",
    "family": "as is usual in its family",
    "caller": "as was asked",
    "training": "as it was trained",
}
"""How it was decided what a model predicts, in words."""
Spacing = Literal["leading", "trailing", "linspace", "karras", "exponential", "beta", "lcm"]
Join = Literal["tokens", "width"]


@dataclass(frozen=True)
class UNetConfig:
    """The denoising network; ``channels``, ``depths`` and ``heads`` have an entry per level.

    Level 0 works at the latents' resolution, and each further level at half the resolution. The
    last three fields are "use_spatial_transformer", "use_scale_shift_norm" and "resblock_updown" of
    latent diffusion's configs. Without transformers, ``context_dim`` is 0.
    """

    channels: tuple[int, ...]
    depths: tuple[int, ...]  # transformer blocks after each residual block; 0: no attention there
    heads: tuple[int, ...]  # attention heads
    blocks_per_level: int = 2  # residual blocks per level on the way down; on the way up one more
    context_dim: int = 768  # width of the text states
    vector_dim: int = 0  # width of the pooled conditioning vector (SDXL); 0: none
    norm_groups: int = 32
    in_channels: int = 4
    out_channels: int = 4
    up_depths: tuple[tuple[int, ...], ...] = ()  # by level, of each block going up; (): as depths
    middle: int = 2  # residual blocks: 2 with a transformer between them, 1 alone, 0: no middle
    middle_depth: int = 0  # transformer blocks there; 0: as the last level, and at least one
    guidance_dim: int = 0  # width of the guidance scale's features (LCM); 0: it is not told
    classes: int = 0  # rows of a table added to the time embedding (x4 upscaler); 0: none
    cross_only: tuple[bool, ...] = ()  # levels without self-attention: both attend to the context
    transformers: bool = True  # False: a lone self-attention instead, where depths is not 0
    scale_shift: bool = False  # the time scales and shifts the second norm; otherwise it is added
    resample_blocks: bool = False  # residual blocks halve and double; otherwise lone convolutions

    @property
    def mid_depth(self) -> int:
        """Transformer blocks in the middle."""
        if self.middle < 2:
            return 0
        return self.middle_depth or max(self.depths[-1], 1)

    @property
    def skip_levels(self) -> tuple[int, ...]:
        """The level at whose resolution each skip is, in the order in which skips are made."""
        levels = [0]
        for level in range(len(self.channels)):
            levels += [level] * self.blocks_per_level
            levels += [level + 1] * (level + 1 < len(self.channels))  # halved
        return tuple(levels)

    @property
    def skips(self) -> tuple[int, ...]:
        """The channels of each skip, in the same order."""
        skips, last = [self.channels[0]], len(self.channels) - 1
        for level, channels in enumerate(self.channels):
            skips += [channels] * (self.blocks_per_level + (level < last))
        return tuple(skips)

    def depth_up(self, level: int, block: int) -> int:
        """Transformer blocks after residual block ``block`` of a level on the way up."""
        return self.up_depths[level][block] if self.up_depths else self.depths[level]

    def cross_only_at(self, level: int) -> bool:
        """Whether a level has no self-attention."""
        return self.cross_only[level] if self.cross_only else False


@dataclass(frozen=True)
class ControlNetConfig:
    """A ControlNet (arXiv 2302.05543): a copy of a UNet's way down that also reads an image.

    ``unet`` describes that copy; what it says of the way up and of the output does not count. In
    small variants, some transformers have only their outer layers: they are those of the levels
    ``hollow``, of which the middle is -1.
    """

    unet: UNetConfig
    hint_channels: int = 3  # of the image
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)  # of its embedding; each further one halves it
    is_bgr: bool = False  # whether it was trained on blue, green, red
    hollow: tuple[int, ...] = ()

    @property
    def factor(self) -> int:
        """f, the number of pixels along one side of a latent cell."""
        return int(2 ** (len(self.hint_widths) - 1))

    @property
    def reads_context(self) -> bool:
        """Whether it attends to the context; small variants do not."""
        levels = [*enumerate(self.unet.depths), (-1, self.unet.mid_depth)]
        return any(depth and level not in self.hollow for level, depth in levels)


@dataclass(frozen=True)
class ClassifierConfig:
    """A classifier of noisy latents, for classifier guidance (arXiv 2105.05233, section 4).

    It is the way down and the middle of a network without transformers, ``unet``, and a pooling:
    "attention" by a query that is the mean of all cells, for ``side`` cells along one side before
    the first halving; "adaptive", the mean of all cells; "spatial" and "spatial_v2", the means
    after every block, through two layers.
    """

    unet: UNetConfig
    names: tuple[str, ...]  # of its classes
    pool: Literal["attention", "adaptive", "spatial", "spatial_v2"] = "attention"
    side: int = 64

    @property
    def features(self) -> int:
        """The width of the means after every block."""
        return sum(self.unet.skips) + self.unet.channels[-1]


@dataclass(frozen=True)
class AutoencoderConfig:
    """The autoencoder: H x W x 3 pixels to H/f x W/f x ``latent_channels``.

    ``channels`` has an entry per level. Level 0 works at the pixels' resolution, and each further
    level at half the resolution. Without levels it is the identity: the latents are the pixels.
    """

    channels: tuple[int, ...]
    blocks_per_level: int = 2
    latent_channels: int = 4
    in_channels: int = 3
    norm_groups: int = 32
    mid_attention: bool = True
    scaling_factor: float = 0.18215  # latents are multiplied by it, for unit variance outside
    shift_factor: float = 0.0  # subtracted from the latents first
    attention_levels: tuple[int, ...] = ()  # levels with attention after each residual block
    codes: int = 0  # VQ: the number of codes; 0: KL

    @property
    def factor(self) -> int:
        """f, the number of pixels along one side of a latent cell."""
        return 1 if self.is_identity else int(2 ** (len(self.channels) - 1))

    @property
    def is_identity(self) -> bool:
        """Whether the latents are the pixels, as in diffusion without an autoencoder."""
        return not self.channels

    @property
    def moments(self) -> int:
        """Channels of the encoder's output; for KL a mean and a log-variance per latent channel."""
        return self.latent_channels if self.codes else 2 * self.latent_channels


class _Routes:
    """How wide an embedder's parts of the routes are; 0: it has no part of that route."""

    @property
    def context_width(self) -> int:
        """D, the width of its tokens in the context [B, T, D]."""
        return 0

    @property
    def vector_width(self) -> int:
        """Its part of V, the width of the vector [B, V]."""
        return 0

    @property
    def concat_width(self) -> int:
        """Its channels beside the latents, of the concat [B, C, h, w]."""
        return 0

    @property
    def takes(self) -> frozenset[str]:
        """What it reads of what a run is given, beside numbers: arguments of `sample`."""
        return frozenset()


@dataclass(frozen=True)
class TextConfig(_Routes):
    """A CLIP text transformer."""

    vocab_size: int = 49408
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072  # width of the feed-forward layers
    activation: str = "quick_gelu"
    length: int = 77  # tokens, start and end included
    bos: int = 49406
    eos: int = 49407
    pad: int = 49407
    projection_dim: int = 0  # SDXL's second encoder has a pooled projection; 0: none
    skip: int = 0  # how many of the last layers the states leave out ("CLIP skip")
    norm: bool = True  # whether the states go through the final layer norm
    zeros: bool = False  # nothing said is zeros (SDXL), not the states of an empty text
    states: bool = True  # whether the network sees its tokens' states

    @property
    def context_width(self) -> int:
        return self.width if self.states else 0

    @property
    def vector_width(self) -> int:
        return self.projection_dim  # the pooled states

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"prompt"})


@dataclass(frozen=True)
class BertConfig(_Routes):
    """The text transformer of latent diffusion's own text models, which reads BERT's tokens.

    It was trained together with the denoiser (arXiv 2112.10752, section 4.3.1).
    """

    vocab_size: int = 30522
    width: int = 1280
    layers: int = 32
    heads: int = 8
    head_width: int = 64
    length: int = 77  # tokens, start and end included
    bos: int = 101  # [CLS]
    eos: int = 102  # [SEP]
    pad: int = 0

    # As in `TextConfig`, and the same for all models of this kind.
    projection_dim: ClassVar[int] = 0
    skip: ClassVar[int] = 0
    zeros: ClassVar[bool] = False
    states: ClassVar[bool] = True

    @property
    def context_width(self) -> int:
        return self.width

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"prompt"})


@dataclass(frozen=True)
class VisionConfig:
    """A CLIP vision transformer (arXiv 2103.00020, section 2.2); the defaults are ViT-B/32's."""

    size: int = 224  # pixels along one side of its images
    patch: int = 32  # pixels along one side of a patch
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072  # width of the feed-forward layers
    activation: str = "quick_gelu"
    projection_dim: int = 512  # of an image's embedding
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)  # of RGB in [0, 1]
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    @property
    def length(self) -> int:
        """The number of tokens: the patches, and the one that stands for the image."""
        return (self.size // self.patch) ** 2 + 1


RDM_VISION = VisionConfig(
    patch=14, width=1024, layers=24, heads=16, hidden=4096, projection_dim=768
)
"""ViT-L/14, the images' tower of retrieval-augmented diffusion."""


@dataclass(frozen=True)
class NeighboursConfig(_Routes):
    """Images like the one to make, a token each in the context: their CLIP embeddings.

    With a text tower, the prompt's embedding comes first (retrieval-augmented diffusion models,
    arXiv 2204.11824, section 3.2; CompVis's knn2img.py).
    """

    width: int = 768  # of the tokens; also that of the towers' projections
    most: int = 20  # images
    vision: VisionConfig = RDM_VISION
    text: TextConfig | None = None  # with a projection
    norm: float = 1.0  # length of each token

    @property
    def context_width(self) -> int:
        return self.width

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"neighbours"} | ({"prompt"} if self.text else set()))


@dataclass(frozen=True)
class ClassConfig(_Routes):
    """A table of classes, one token each in the context."""

    names: tuple[str, ...]
    width: int
    null: bool = True  # whether the last row is the null class, to which dropped labels belong

    @property
    def context_width(self) -> int:
        return self.width

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"label", "prompt"})


@dataclass(frozen=True)
class BoxesConfig(_Routes):
    """Named boxes as tokens, and the transformer that reads them (layout to image).

    Three tokens a box, its class and two corners, and two for the crop (arXiv 2112.10752, section
    4.3.1). Corners lie on a grid of ``sections`` x ``sections`` points. The last token stands for
    no box.
    """

    names: tuple[str, ...]
    width: int = 512
    layers: int = 16
    heads: int = 8
    head_width: int = 64
    most: int = 30  # boxes
    vocab_size: int = 8192
    length: int = 92  # tokens
    crop: bool = True  # whether the corners of the crop follow the boxes

    @property
    def context_width(self) -> int:
        return self.width

    @property
    def sections(self) -> int:
        """The points of the corners' grid along one side."""
        return math.isqrt(self.vocab_size)

    @property
    def nothing(self) -> int:
        """The token that stands for no box."""
        return self.vocab_size - 1

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"boxes"})


@dataclass(frozen=True)
class LabelMapConfig(_Routes):
    """A class for each pixel, scaled down and mapped to a few channels (semantic synthesis)."""

    names: tuple[str, ...]
    stages: int = 2  # halvings, down to the latents' size
    channels: int = 3  # beside the latents

    @property
    def concat_width(self) -> int:
        return self.channels

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"label_map"})


@dataclass(frozen=True)
class SizesConfig(_Routes):
    """SDXL's numbers about an image's size and crop, ``width`` Fourier features each, in the vector
    (arXiv 2307.01952, section 2.2): six, or, for the refiner, four and an aesthetic score."""

    width: int = 256
    score: bool = False  # an aesthetic score takes the place of the target size

    @property
    def vector_width(self) -> int:
        return (5 if self.score else 6) * self.width


@dataclass(frozen=True)
class GuidanceConfig(_Routes):
    """The guidance scale, told to a network that needs no guidance (LCM); ``width`` features."""

    width: int = 256


@dataclass(frozen=True)
class MaskedImageConfig(_Routes):
    """What an inpainting model sees: the mask, and the latents of the image outside it.

    The defaults are Stable Diffusion's. Latent diffusion's own model has the mask last, in [-1, 1],
    and saw black pixels inside it.
    """

    latent_channels: int = 4
    mask_last: bool = False  # whether the mask comes after the latents
    signed: bool = False  # whether the mask is in [-1, 1], not in [0, 1]
    fill: float = 0.0  # of pixels inside the mask: 0 is grey, -1 black

    @property
    def concat_width(self) -> int:
        return 1 + self.latent_channels

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"image", "mask"})


@dataclass(frozen=True)
class ImageConfig(_Routes):
    """The latents of the image to edit (InstructPix2Pix, arXiv 2211.09800)."""

    latent_channels: int = 4

    @property
    def concat_width(self) -> int:
        return self.latent_channels

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"image"})


@dataclass(frozen=True)
class DepthConfig(_Routes):
    """A depth map at the latents' size, from -1 to 1."""

    @property
    def concat_width(self) -> int:
        return 1

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"depth"})


@dataclass(frozen=True)
class LowResolutionConfig(_Routes):
    """The small image to enlarge, with noise on it, and the noise's level as a class.

    Latent diffusion's own model knows no noise: ``levels`` is 0, and there is no class.
    """

    channels: int = 3
    levels: int = 1000  # of noise, with variances from beta_start to beta_end, linear in the root
    beta_start: float = 0.0001
    beta_end: float = 0.02
    most: int = 350  # the highest level that runs may ask for

    @property
    def concat_width(self) -> int:
        return self.channels

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"low_res"})


EmbedderConfig = (
    TextConfig
    | BertConfig
    | NeighboursConfig
    | ClassConfig
    | BoxesConfig
    | LabelMapConfig
    | SizesConfig
    | GuidanceConfig
    | MaskedImageConfig
    | ImageConfig
    | DepthConfig
    | LowResolutionConfig
)
"""What a network may be told. Each says how wide its parts of the routes are."""


@dataclass(frozen=True)
class ScheduleConfig:
    """The forward process: variances beta_1..beta_T, what the network predicts, and its own grid.

    ``spacing`` and ``offset`` are the grid of noise levels that diffusers would visit, in its words
    ("leading" with 1 is Stable Diffusion's). Runs visit it with the schedule "config"; by default,
    they begin at the noisiest level; see `sampling.default_schedule`.
    """

    steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    kind: Literal["linear", "scaled_linear"] = "scaled_linear"  # scaled: linear in sqrt(beta)
    prediction: Prediction = "eps"
    spacing: Spacing = "leading"
    offset: int = 1  # training steps that "leading" begins above 0
    zero_snr: bool = False  # rescaled to end in pure noise (arXiv 2305.08891, algorithm 1)


@dataclass(frozen=True)
class ModelConfig:
    """A latent diffusion model.

    ``embedders`` make the conditioning, in the order of their tokens and vectors. An embedder with
    words comes before others with a context. Without embedders, the model is unconditional.
    """

    name: str
    unet: UNetConfig
    autoencoder: AutoencoderConfig
    embedders: tuple[EmbedderConfig, ...]
    schedule: ScheduleConfig = ScheduleConfig()
    size: int = 512  # pixels along one side of the images it was trained on
    guidance_scale: float = 7.5  # the default of `sample`, as are the next three
    steps: int = 20
    sampler: str = "dpmpp_2m"
    schedule_name: str = "default"  # of noise levels; see `sampling.SCHEDULES`
    join: Join = "tokens"  # along what the embedders' contexts are joined

    def has(self, kind: type[_Routes]) -> bool:
        """Whether an embedder's config is of this class."""
        return any(isinstance(each, kind) for each in self.embedders)

    @property
    def starts_from_noise(self) -> bool:
        """Whether runs with an image start from noise: the network edits or enlarges it."""
        return self.has(ImageConfig) or self.has(LowResolutionConfig)

    @property
    def takes(self) -> frozenset[str]:
        """What a run may be given beside numbers: arguments of `sample` by name.

        A guide steers every model. An image to start from, and a mask, suit those that neither edit
        nor enlarge one.
        """
        read = frozenset[str]().union(*(each.takes for each in self.embedders))
        return read | {"guide"} | (set() if self.starts_from_noise else {"image", "mask"})

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, of labels, boxes or label maps, by number; () without any."""
        kinds = (ClassConfig, BoxesConfig, LabelMapConfig)
        return next((each.names for each in self.embedders if isinstance(each, kinds)), ())

    @property
    def text(self) -> tuple[TextConfig, ...]:
        """CLIP's text encoders of the embedders, in order."""
        return tuple(each for each in self.text_encoders if isinstance(each, TextConfig))

    @property
    def text_encoders(self) -> tuple[TextConfig | BertConfig, ...]:
        """All text encoders of the embedders, in order."""
        read = (e.text if isinstance(e, NeighboursConfig) else e for e in self.embedders)
        return tuple(each for each in read if isinstance(each, (TextConfig, BertConfig)))

    @property
    def readers(self) -> tuple[int, ...]:
        """The index, among the embedders, of each that has one of the text encoders."""
        told = enumerate(self.embedders)
        return tuple(n for n, e in told if isinstance(e, TextConfig) or getattr(e, "text", None))

    @property
    def context_width(self) -> int:
        """The width D of the context that the embedders make together; 0: there is none."""
        widths = [each.context_width for each in self.embedders]
        return sum(widths) if self.join == "width" else max(widths, default=0)

    @property
    def vector_width(self) -> int:
        """The width V of the vector that the embedders make together; 0: there is none."""
        return sum(each.vector_width for each in self.embedders)

    @property
    def concat_width(self) -> int:
        """The channels that the embedders put beside the latents; 0: none."""
        return sum(each.concat_width for each in self.embedders)


_SD_AUTOENCODER = AutoencoderConfig(channels=(128, 256, 512, 512))
_CLIP_L = TextConfig()
_CLIP_H = TextConfig(width=1024, layers=23, heads=16, hidden=4096, activation="gelu", pad=0)
_CLIP_BIG_G = TextConfig(
    width=1280, layers=32, heads=20, hidden=5120, activation="gelu", pad=0, projection_dim=1280
)

SD1 = ModelConfig(
    name="Stable Diffusion 1",
    unet=UNetConfig(channels=(320, 640, 1280, 1280), depths=(1, 1, 1, 0), heads=(8, 8, 8, 8)),
    autoencoder=_SD_AUTOENCODER,
    embedders=(_CLIP_L,),
)

SD2 = ModelConfig(
    name="Stable Diffusion 2",
    unet=UNetConfig(
        channels=(320, 640, 1280, 1280),
        depths=(1, 1, 1, 0),
        heads=(5, 10, 20, 20),
        context_dim=1024,
    ),
    autoencoder=_SD_AUTOENCODER,
    embedders=(_CLIP_H,),
    schedule=ScheduleConfig(prediction="v"),
    size=768,
)

SDXL = ModelConfig(
    name="Stable Diffusion XL",
    unet=UNetConfig(
        channels=(320, 640, 1280),
        depths=(0, 2, 10),
        heads=(5, 10, 20),
        context_dim=2048,
        vector_dim=2816,
    ),
    autoencoder=AutoencoderConfig(channels=(128, 256, 512, 512), scaling_factor=0.13025),
    embedders=(
        replace(_CLIP_L, skip=1, norm=False, zeros=True),
        replace(_CLIP_BIG_G, skip=1, norm=False, zeros=True),
        SizesConfig(),
    ),
    join="width",
    size=1024,
    guidance_scale=5.0,
)

# Variants of the three: of what the network is told, or distilled. Sources: the configs that were
# published with each model.


def _variant(base: ModelConfig, name: str, *told: EmbedderConfig, **unet: Any) -> ModelConfig:
    """Return ``base`` with another name, further embedders and other numbers of its UNet."""
    channels = base.autoencoder.latent_channels + sum(each.concat_width for each in told)
    unet = {"in_channels": channels, **unet}
    return replace(
        base,
        name=name,
        unet=replace(base.unet, **unet),
        embedders=(*base.embedders, *told),
    )


SD1_INPAINTING = _variant(SD1, "Stable Diffusion 1, inpainting", MaskedImageConfig())
INSTRUCT_PIX2PIX = _variant(SD1, "InstructPix2Pix", ImageConfig())
LCM = replace(
    _variant(SD1, "latent consistency model", GuidanceConfig(), guidance_dim=256),
    schedule=ScheduleConfig(spacing="lcm"),
    guidance_scale=8.5,
    steps=4,
    sampler="lcm",
)
BK_SDM_BASE = _variant(SD1, "BK-SDM base", blocks_per_level=1)
BK_SDM_SMALL = _variant(SD1, "BK-SDM small", blocks_per_level=1, middle=0)
BK_SDM_TINY = _variant(
    SD1, "BK-SDM tiny",
    channels=(320, 640, 1280), depths=(1, 1, 1), heads=(8, 8, 8), blocks_per_level=1, middle=0,
)  # fmt: skip

SD2_BASE = replace(SD2, name="Stable Diffusion 2 base", schedule=ScheduleConfig(), size=512)
BK_SDM_2_BASE = _variant(SD2_BASE, "BK-SDM 2 base", blocks_per_level=1)
BK_SDM_2_SMALL = _variant(SD2_BASE, "BK-SDM 2 small", blocks_per_level=1, middle=0)
BK_SDM_2_TINY = _variant(
    SD2_BASE, "BK-SDM 2 tiny",
    channels=(320, 640, 1280), depths=(1, 1, 1), heads=(5, 10, 20), blocks_per_level=1, middle=0,
)  # fmt: skip
SD2_INPAINTING = _variant(SD2_BASE, "Stable Diffusion 2, inpainting", MaskedImageConfig())
SD2_DEPTH = _variant(SD2_BASE, "Stable Diffusion 2, depth", DepthConfig())
SD_TURBO = replace(
    SD2_BASE,
    name="SD-Turbo",
    guidance_scale=1.0,
    steps=4,
    sampler="euler",
    schedule_name="trailing",
)
X4_UPSCALER = ModelConfig(
    name="Stable Diffusion x4 upscaler",
    unet=UNetConfig(
        channels=(256, 512, 512, 1024),
        depths=(0, 1, 1, 1),
        heads=(8, 8, 8, 8),
        context_dim=1024,
        in_channels=7,
        classes=1000,
        cross_only=(True, True, True, False),
    ),
    autoencoder=AutoencoderConfig(channels=(128, 256, 512), scaling_factor=0.08333),
    embedders=(_CLIP_H, LowResolutionConfig()),
    schedule=ScheduleConfig(beta_start=0.0001, beta_end=0.02, prediction="v"),
    guidance_scale=9.0,
)

SDXL_INPAINTING = _variant(SDXL, "Stable Diffusion XL, inpainting", MaskedImageConfig())
SDXL_REFINER = replace(
    SDXL,
    name="Stable Diffusion XL refiner",
    unet=UNetConfig(
        channels=(384, 768, 1536, 1536),
        depths=(0, 4, 4, 0),
        heads=(6, 12, 24, 24),
        context_dim=1280,
        vector_dim=2560,
        middle_depth=4,
    ),
    embedders=(replace(_CLIP_BIG_G, skip=1, norm=False), SizesConfig(score=True)),
    join="tokens",
)
SDXL_TURBO = replace(
    SDXL,
    name="SDXL-Turbo",
    schedule=ScheduleConfig(spacing="trailing"),
    size=512,
    guidance_scale=1.0,
    steps=4,
    sampler="euler_ancestral",
    schedule_name="trailing",
)
SSD_1B = _variant(
    SDXL, "SSD-1B",
    depths=(0, 2, 4), up_depths=((0, 0, 0), (2, 1, 1), (4, 4, 10)), middle=1,
)  # fmt: skip
VEGA = _variant(SDXL, "Segmind Vega", depths=(0, 1, 2), middle=1)
KOALA_700M = _variant(SDXL, "KOALA 700M", depths=(0, 2, 5), blocks_per_level=1, middle=0)
KOALA_1B = _variant(SDXL, "KOALA 1B", depths=(0, 2, 6), blocks_per_level=1)


def _first_stage(
    multiples: tuple[int, ...], latent_channels: int, *, scaling_factor: float = 1.0, **rest: Any
) -> AutoencoderConfig:
    return AutoencoderConfig(
        channels=tuple(128 * n for n in multiples),
        latent_channels=latent_channels,
        scaling_factor=scaling_factor,
        **rest,
    )


# The autoencoders published with the latent-diffusion paper, by their names in its table 8 and as
# in models/first_stage_models/*/config.yaml of its code. The code lists attention by resolution,
# for images of 256 pixels: 32, 16 and 8 are levels 3, 4 and 5. The scales are those of the
# diffusion models trained on them: for KL-f8 Stable Diffusion's, for KL-f16 that of
# retrieval-augmented diffusion, and for the VQ ones 1. None is published for KL-f4 and KL-f32, and
# 1 is only a start: measure the deviation of their latents on your images before training on them.
FIRST_STAGES = {
    "KL-f4": _first_stage((1, 2, 4), 3),
    "KL-f8": _SD_AUTOENCODER,
    "KL-f16": _first_stage((1, 1, 2, 2, 4), 16, attention_levels=(4,), scaling_factor=0.22765929),
    "KL-f32": _first_stage((1, 1, 2, 2, 4, 4), 64, attention_levels=(4, 5)),
    "VQ-f4": _first_stage((1, 2, 4), 3, codes=8192),
    "VQ-f4-noattn": _first_stage((1, 2, 4), 3, codes=8192, mid_attention=False),
    "VQ-f8": _first_stage((1, 2, 2, 4), 4, codes=16384, attention_levels=(3,)),
    "VQ-f8-n256": _first_stage((1, 2, 2, 4), 4, codes=256, attention_levels=(3,)),
    "VQ-f16": _first_stage((1, 1, 2, 2, 4), 8, codes=16384, attention_levels=(4,)),
}


# The zoo of latent diffusion (arXiv 2112.10752, table 12 and appendix E), as in models/ldm/ and
# configs/ of its code, where attention is listed by the factor of the level: 2, 4 and 8 are levels
# 1, 2 and 3. A head is 32 channels wide there, or their number is given. The schedule that is
# called "linear" there is linear in the root, as ours is by default.


def _ldm(
    name: str,
    first_stage: str,
    width: int,
    multiples: tuple[int, ...],
    *embedders: EmbedderConfig,
    depths: tuple[int, ...],
    betas: tuple[float, float] = (0.0015, 0.0195),
    heads: int = 0,
    size: int = 256,
    scale: float = 1.0,
    steps: int = 50,
    **unet: Any,
) -> ModelConfig:
    """Return a system; ``heads``: attention heads, or 0 for as many of 32 channels as there are;
    ``scale``: the default guidance scale, 1 for models that were not trained for guidance."""
    autoencoder = FIRST_STAGES[first_stage]
    channels, latents = tuple(width * n for n in multiples), autoencoder.latent_channels
    context = max((each.context_width for each in embedders), default=0)
    network = UNetConfig(
        channels=channels,
        depths=depths,
        heads=tuple(heads or n // 32 for n in channels),
        context_dim=context,
        in_channels=latents + sum(each.concat_width for each in embedders),
        out_channels=latents,
        transformers=context > 0,
        **unet,
    )
    schedule = ScheduleConfig(beta_start=betas[0], beta_end=betas[1])
    return ModelConfig(
        name, network, autoencoder, embedders, schedule, size, guidance_scale=scale, steps=steps
    )


LDM_CELEBAHQ = _ldm("latent diffusion, CelebA-HQ", "VQ-f4", 224, (1, 2, 3, 4), depths=(0, 1, 1, 1))
LDM_FFHQ = replace(LDM_CELEBAHQ, name="latent diffusion, FFHQ")
LDM_BEDROOMS = replace(LDM_CELEBAHQ, name="latent diffusion, LSUN bedrooms")
# The scale of its latents was measured in training; files have it as "scale_factor".
LDM_CHURCHES = _ldm(
    "latent diffusion, LSUN churches", "KL-f8", 192, (1, 2, 2, 4, 4),
    depths=(1, 1, 1, 1, 0), betas=(0.0015, 0.0155), heads=8, scale_shift=True, resample_blocks=True,
)  # fmt: skip
LDM_IMAGENET_VQ8 = _ldm(
    "latent diffusion, ImageNet, VQ-f8", "VQ-f8", 256, (1, 2, 4),
    ClassConfig(IMAGENET, 512, null=False), depths=(1, 1, 1),
)  # fmt: skip
LDM_IMAGENET = _ldm(
    "latent diffusion, ImageNet", "VQ-f4", 192, (1, 2, 3, 5),
    ClassConfig(IMAGENET, 512), depths=(0, 1, 1, 1), heads=1, scale=3.0, steps=20,
)  # fmt: skip
LDM_TEXT_256 = _ldm(
    "latent diffusion, Conceptual Captions", "VQ-f4", 192, (1, 2, 3, 5),
    BertConfig(width=640), depths=(0, 1, 1, 1),
)  # fmt: skip
LDM_TEXT = _ldm(
    "latent diffusion, text to image", "KL-f8", 320, (1, 2, 4, 4),
    BertConfig(width=1280), depths=(1, 1, 1, 0), betas=(0.00085, 0.012), heads=8, scale=5.0,
)  # fmt: skip
LDM_LAYOUT = _ldm(
    "latent diffusion, layout to image", "VQ-f4", 128, (1, 2, 3, 4),
    BoxesConfig(OPEN_IMAGES), depths=(0, 3, 3, 3), betas=(0.0015, 0.0205),
)  # fmt: skip
# Its list of attention has the factors 8, 16 and 32, of which its three levels have none. So only
# the middle attends.
LDM_LANDSCAPES_256 = _ldm(
    "latent diffusion, landscapes 256", "VQ-f4", 128, (1, 4, 8),
    LabelMapConfig(COCO_STUFF), depths=(0, 0, 0), betas=(0.0015, 0.0205), heads=8,
)  # fmt: skip
LDM_LANDSCAPES_512 = replace(LDM_LANDSCAPES_256, name="latent diffusion, landscapes 512", size=512)
LDM_BSR = _ldm(
    "latent diffusion, super-resolution", "VQ-f4", 160, (1, 2, 2, 4),
    LowResolutionConfig(levels=0), depths=(0, 0, 0, 1), betas=(0.0015, 0.0155),
)  # fmt: skip
LDM_INPAINTING = _ldm(
    "latent diffusion, inpainting", "VQ-f4-noattn", 256, (1, 2, 3, 4),
    MaskedImageConfig(3, mask_last=True, signed=True, fill=-1.0),
    depths=(0, 1, 1, 1), betas=(0.0015, 0.0205), heads=8, size=512, resample_blocks=True,
)  # fmt: skip
# Retrieval-augmented diffusion (arXiv 2204.11824), the same code's configs/.
RDM_768 = _ldm(
    "retrieval-augmented diffusion", "KL-f16", 448, (1, 2, 3, 4),
    NeighboursConfig(text=replace(_CLIP_L, projection_dim=768)),
    depths=(1, 1, 1, 0), betas=(0.0015, 0.015), size=768, scale=5.0,
)  # fmt: skip


ZOO = (
    LDM_CELEBAHQ, LDM_FFHQ, LDM_BEDROOMS, LDM_CHURCHES, LDM_IMAGENET_VQ8, LDM_IMAGENET,
    LDM_TEXT_256, LDM_TEXT, LDM_LAYOUT, LDM_LANDSCAPES_256, LDM_LANDSCAPES_512, LDM_BSR,
    LDM_INPAINTING, RDM_768,
)  # fmt: skip
"""Every system that was published with latent diffusion's code."""

PIXELS = AutoencoderConfig(channels=(), latent_channels=3, scaling_factor=1.0)
"""The identity, for diffusion in pixels; f = 1."""


def _scene_stage(levels: int, latent_channels: int, codes: int = 0) -> AutoencoderConfig:
    return AutoencoderConfig(
        channels=(16, 32, 64, 80, 80, 80)[:levels],
        blocks_per_level=1,
        latent_channels=latent_channels,
        norm_groups=2,
        codes=codes,
        scaling_factor=1.0,
    )


# The same trade-off at small scale: autoencoders for emoji scenes, which differ only in f and in
# the channels and codes that the paper's table 8 has for it. The paper's codebooks are larger, but
# scenes do not fill them.
SCENE_STAGES = {
    "KL-f2": _scene_stage(2, 2),
    "KL-f4": _scene_stage(3, 3),
    "KL-f8": _scene_stage(4, 4),
    "KL-f16": _scene_stage(5, 16),
    "KL-f32": _scene_stage(6, 64),
    "VQ-f2": _scene_stage(2, 2, codes=1024),
    "VQ-f4": _scene_stage(3, 3, codes=1024),
    "VQ-f8": _scene_stage(4, 4, codes=1024),
    "VQ-f16": _scene_stage(5, 8, codes=1024),
    "VQ-f32": _scene_stage(6, 16, codes=1024),
}

# The bundled model: Stable Diffusion at small scale, trained on emoji scenes (see scenes.py).
# Its norms have few groups: a norm removes the mean of a group over the image, so with two channels
# per group, hardly anything of a flat background's colour would get through.
EMOJI = ModelConfig(
    name="emoji scenes",
    unet=UNetConfig(
        channels=(40, 80, 160),
        depths=(1, 1, 1),
        heads=(2, 4, 4),
        blocks_per_level=1,
        context_dim=128,
        norm_groups=4,
    ),
    autoencoder=AutoencoderConfig(
        channels=(16, 32, 64, 160), blocks_per_level=1, norm_groups=2, scaling_factor=1.0
    ),
    embedders=(
        TextConfig(
            vocab_size=800, width=128, layers=2, heads=4, hidden=512, bos=797, eos=798, pad=799
        ),
    ),
    # More noise at the end than Stable Diffusion (the paper's ImageNet schedule), and v: otherwise
    # a trace of a flat background would show through and be learnt instead of the colour word.
    schedule=ScheduleConfig(beta_start=0.0015, beta_end=0.0195, prediction="v"),
    size=128,
    guidance_scale=3.0,
)

# For tests: every part, and all of them tiny.
TINY = ModelConfig(
    name="tiny",
    unet=UNetConfig(
        channels=(16, 32),
        depths=(1, 1),
        heads=(2, 4),
        blocks_per_level=1,
        context_dim=24,
        norm_groups=8,
    ),
    autoencoder=AutoencoderConfig(channels=(8, 16), blocks_per_level=1, norm_groups=4),
    embedders=(
        TextConfig(
            vocab_size=300, width=24, layers=2, heads=2, hidden=48, bos=298, eos=299, pad=299
        ),
    ),
    size=16,
    guidance_scale=3.0,
)
