"""The table of systems. A new one is a `System` in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...configs import (
    EMOJI,
    PIXELS,
    SCENE_STAGES,
    BoxesConfig,
    ClassConfig,
    EmbedderConfig,
    LabelMapConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
    NeighboursConfig,
    UNetConfig,
    VisionConfig,
)
from ...scenes import CLASSES, OBJECTS
from ..loop import Plan
from .telling import (
    LAYOUT_NAMES,
    Tell,
    told_boxes,
    told_caption,
    told_class,
    told_hole,
    told_map,
    told_neighbours,
    told_small,
)

WIDTH = EMOJI.unet.context_dim  # of a token
POINTS = 32  # along one side of the grid on which corners of boxes lie
MAPPED = 16  # channels of a label map

LOOKING = (
    r"\.attn2\.", r"\.attn1\.to_(v|out)", r"\.proj_(in|out)\.", r"norm", r"^conv_", r"^time_",
)  # fmt: skip
"""What learns in a network that is given words of another kind: where it looks, and its ends."""
ATTENTION = (*LOOKING, r"\.attn1\.")
"""The same, and where pixels look among one another."""
FINE = (r"^down_blocks\.0\.resnets", r"^up_blocks\.2\.resnets")
"""What works at the latents' resolution."""
SEEING = (*ATTENTION, *FINE)
"""What learns in a network that sees more than its latents."""
READING = (*SEEING, r"^down_blocks\.0\.downsamplers", r"^down_blocks\.1\.(resnets|downsamplers)")
"""What learns in one that is told everything by what it sees."""

TOWER_PLAN = Plan(steps=400, batch_size=96, lr=2e-3, matrix_lr=0.02, ema=0.98, checkpoint_every=100)
"""Of the vision tower of `emoji-neighbours`."""


@dataclass(frozen=True)
class System:
    """A model, and how it is trained.

    ``base``: the bundled model whose weights it starts from; "" for none. ``learns``: patterns of
    the names of its network's weights that learn, everything by default; the others stay those of
    the base. ``autoencoder``: that of a bundled model, a bundled autoencoder, or "" for pixels.
    ``kind``: of the scenes, see `scenes.make_scene`. ``naming``: the weight of the loss of
    `naming`. ``dropout``: the share of samples without conditioning.
    """

    config: ModelConfig
    tell: Tell
    plan: Plan
    base: str = "emoji"
    learns: tuple[str, ...] = ()
    autoencoder: str = "emoji"
    kind: str | None = None
    scenes: int = 12_000
    naming: float = 0.0
    dropout: float = 0.1


def _told(name: str, *embedders: EmbedderConfig, guidance_scale: float = 3.0) -> ModelConfig:
    """The bundled model's config with other embedders."""
    config = replace(EMOJI, name=name, embedders=embedders, guidance_scale=guidance_scale)
    unet = replace(
        config.unet,
        in_channels=config.autoencoder.latent_channels + config.concat_width,
        context_dim=config.context_width,
    )
    return replace(config, unet=unet)


SYSTEMS: dict[str, System] = {
    "emoji-class": System(
        _told("emoji, by class", ClassConfig(tuple(OBJECTS), WIDTH)),
        told_class,
        Plan(steps=600, batch_size=48, lr=1e-3, matrix_lr=0.01, ema=0.99, checkpoint_every=100),
        learns=ATTENTION,
        kind="one",
    ),
    "emoji-layout": System(
        _told(
            "emoji, by boxes",
            BoxesConfig(
                LAYOUT_NAMES,
                WIDTH,
                layers=2,
                heads=4,
                head_width=32,
                most=6,
                vocab_size=POINTS**2 + 1,
                length=18,
                crop=False,
            ),
        ),
        told_boxes,
        Plan(steps=700, batch_size=48, lr=1e-3, matrix_lr=0.01, ema=0.99, checkpoint_every=50),
        learns=LOOKING,
        naming=0.2,
    ),
    "emoji-map": System(
        _told(
            "emoji, by label map",
            LabelMapConfig(CLASSES, stages=3, channels=MAPPED),
        ),
        told_map,
        Plan(steps=600, batch_size=48, lr=1e-3, matrix_lr=0.01, ema=0.99, checkpoint_every=50),
        learns=READING,
    ),
    "emoji-inpaint": System(
        _told("emoji, inpainting", *EMOJI.embedders, MaskedImageConfig()),
        told_hole,
        Plan(steps=600, batch_size=48, lr=1e-3, matrix_lr=0.01, ema=0.99, checkpoint_every=100),
        learns=SEEING,
    ),
    "emoji-upscale": System(
        ModelConfig(
            name="emoji, four times as large",
            unet=UNetConfig(
                channels=(32, 56, 72),
                depths=(0, 0, 1),
                heads=(2, 4, 4),
                blocks_per_level=1,
                context_dim=0,
                norm_groups=4,
                in_channels=6,
                out_channels=3,
            ),
            autoencoder=SCENE_STAGES["KL-f4"],
            embedders=(LowResolutionConfig(levels=0),),
            schedule=EMOJI.schedule,
            size=EMOJI.size,
            guidance_scale=1.0,
        ),
        told_small,
        Plan(steps=1500, batch_size=32, lr=2e-3, matrix_lr=0.02, ema=0.99, checkpoint_every=100),
        base="",
        autoencoder="KL-f4",
        scenes=8_000,
        dropout=0.0,
    ),
    "emoji-neighbours": System(
        _told(
            "emoji, by neighbours",
            NeighboursConfig(
                WIDTH,
                most=8,
                vision=VisionConfig(
                    size=64,
                    patch=8,
                    width=96,
                    layers=3,
                    heads=4,
                    hidden=192,
                    projection_dim=WIDTH,
                    mean=(0.5, 0.5, 0.5),
                    std=(0.5, 0.5, 0.5),
                ),
                norm=WIDTH**0.5,
            ),
        ),
        told_neighbours,
        Plan(steps=900, batch_size=48, lr=1e-3, matrix_lr=0.01, ema=0.99, checkpoint_every=50),
        learns=(*LOOKING, *FINE),
        kind="glyph",
        scenes=6_000,
    ),
    "emoji-pixels": System(
        replace(
            EMOJI,
            name="emoji, in pixels",
            unet=UNetConfig(
                channels=(12, 24, 32, 48, 64),
                depths=(0, 0, 0, 1, 1),
                heads=(1, 1, 1, 2, 4),
                blocks_per_level=1,
                context_dim=WIDTH,
                norm_groups=4,
                in_channels=3,
                out_channels=3,
            ),
            autoencoder=PIXELS,
        ),
        told_caption,
        Plan(steps=2000, batch_size=16, lr=2e-3, matrix_lr=0.02, ema=0.99, checkpoint_every=50),
        base="",
        autoencoder="",
        scenes=2_500,
    ),
    "emoji-latents": System(
        replace(
            EMOJI,
            name="emoji, in latents",
            unet=replace(EMOJI.unet, channels=(32, 48, 64)),
        ),
        told_caption,
        Plan(steps=2000, batch_size=32, lr=2e-3, matrix_lr=0.02, ema=0.99, checkpoint_every=100),
        base="",
    ),
}
