"""model_index.json: the parts of a model folder, and what diffusers' pipeline tells its network.

The file is not trusted: pipelines and classes must be on the lists here, and nothing is ever
imported by a name from a file. What a pipeline of diffusers does, such as which states of a text
encoder its network sees, no other file says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..configs import (
    DepthConfig,
    EmbedderConfig,
    GuidanceConfig,
    ImageConfig,
    LowResolutionConfig,
    MaskedImageConfig,
    ModelConfig,
    SizesConfig,
    TextConfig,
    UNetConfig,
)
from ..errors import CheckpointError
from ..sampling import SAMPLERS, SCHEDULES
from .config_json import (
    Fields,
    Json,
    autoencoder_class,
    can_be_json,
    sizes_from_json,
    text_class,
)
from .few_steps import scheduler_of
from .weights import quoted

# The classes that a model_index.json may name for each part.
_SCHEDULERS = (
    "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep", "DPMSolverMultistep",
    "DPMSolverSDE", "DPMSolverSinglestep", "EulerAncestralDiscrete", "EulerDiscrete",
    "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete", "LCM", "LMSDiscrete",
    "PNDM", "SASolver", "TCD", "UniPCMultistep",
)  # fmt: skip
_CLASSES = {
    "unet": {("diffusers", "UNet2DConditionModel")},
    "vae": {("diffusers", "AutoencoderKL"), ("diffusers", "VQModel")},
    "text_encoder": {("transformers", "CLIPTextModel")},
    "text_encoder_2": {("transformers", "CLIPTextModelWithProjection")},
    "tokenizer": {("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")},
    "tokenizer_2": {("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")},
    "scheduler": {("diffusers", f"{name}Scheduler") for name in _SCHEDULERS},
    "low_res_scheduler": {("diffusers", f"{name}Scheduler") for name in _SCHEDULERS},
    "controlnet": {("diffusers", "ControlNetModel")},
}
# Parts of published folders that this kit neither uses nor loads, so that any class of these
# libraries will do.
_UNUSED = (
    "depth_estimator", "feature_extractor", "image_encoder", "safety_checker", "watermarker",
)  # fmt: skip
_LIBRARIES = (
    "diffusers", "stable_diffusion", "stable_diffusion_safe", "stable_diffusion_xl", "transformers",
)  # fmt: skip


_CHECKED = ("feature_extractor", "image_encoder", "safety_checker")


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of diffusers: what its folder holds, and what it tells the network."""

    name: str
    sees: type[MaskedImageConfig | ImageConfig | DepthConfig | LowResolutionConfig] | None = None
    is_xl: bool = False  # two text encoders, of which the first may be missing, and sizes
    guidance_scale: float = 7.5  # the default
    scaling_factor: float = 0.18215  # of the latents, in folders that do not say it
    empty: tuple[str, ...] = _CHECKED  # parts that it has and that we leave empty


_XL: dict[str, Any] = {
    "is_xl": True, "guidance_scale": 5.0, "scaling_factor": 0.13025,
    "empty": ("feature_extractor", "image_encoder"),
}  # fmt: skip
_ENDS = ("Pipeline", "Img2ImgPipeline", "InpaintPipeline")
_LCM = Pipeline("LatentConsistencyModelPipeline", guidance_scale=8.5)
_XL_IMAGE = Pipeline("StableDiffusionXLImg2ImgPipeline", **_XL)

# A model is saved under the first that fits it.
PIPELINES = {
    each.name: each
    for each in (
        Pipeline("StableDiffusionPipeline"),
        Pipeline("StableDiffusionInpaintPipeline", MaskedImageConfig),
        Pipeline("StableDiffusionInstructPix2PixPipeline", ImageConfig),
        Pipeline(
            "StableDiffusionDepth2ImgPipeline", DepthConfig,
            empty=("depth_estimator", "feature_extractor"),
        ),
        Pipeline(
            "StableDiffusionUpscalePipeline", LowResolutionConfig,
            guidance_scale=9.0, scaling_factor=0.08333,
            empty=("feature_extractor", "safety_checker", "watermarker"),
        ),
        Pipeline("StableDiffusionXLPipeline", **_XL),
        Pipeline("StableDiffusionXLInpaintPipeline", MaskedImageConfig, **_XL),
        Pipeline(
            "StableDiffusionXLInstructPix2PixPipeline", ImageConfig, **{**_XL, "empty": ()}
        ),
        _XL_IMAGE,
        _LCM,
        replace(_LCM, name="LatentConsistencyModelImg2ImgPipeline"),
        Pipeline("StableDiffusionImg2ImgPipeline"),
        Pipeline("StableDiffusionInpaintPipelineLegacy"),
        Pipeline("StableDiffusionPipelineSafe"),
        *(Pipeline(f"StableDiffusionControlNet{end}") for end in _ENDS),
        *(Pipeline(f"StableDiffusionXLControlNet{end}", **_XL) for end in _ENDS),
    )
}  # fmt: skip

_KNOWN = "Stable Diffusion 1, 2 and XL in the diffusers layout can be loaded."


def check_model_index(index: Mapping[str, Any], where: str) -> None:
    """Raise ``CheckpointError`` unless a model_index.json names all parts, by known classes."""
    name = index.get("_class_name")
    if isinstance(name, list):
        raise CheckpointError(
            f"{where}: the pipeline {quoted(name)} has Python code of its own, which is never "
            f"run.\n{_KNOWN}"
        )
    if not isinstance(name, str) or name not in PIPELINES:
        raise CheckpointError(f"{where}: the pipeline {quoted(name)} is not known.\n{_KNOWN}")
    pipeline = PIPELINES[name]
    for part, value in index.items():
        # Plain settings (a flag, the library's version, private notes) name no class.
        if isinstance(value, list) and not part.startswith("_") and value != [None, None]:
            _check_class(part, value, pipeline, where)
    texts = [name for pair in text_folders(index) for name in pair]
    needed = ["unet", "vae", *texts, "scheduler"]
    missing = [part for part in needed if not _is_there(index, part)]
    if missing:
        raise CheckpointError(f"{where} lacks {', '.join(missing)}.")
    if index.get("is_cosxl_edit"):
        raise CheckpointError(
            f"{where} is CosXL's editing model, whose noise this kit does not have."
        )


def _check_class(part: str, value: list[Any], pipeline: Pipeline, where: str) -> None:
    library, name = (value[0], str(value[-1])) if value else ("", "")
    if part in _UNUSED and library in _LIBRARIES:
        return
    allowed = _CLASSES.get(part, set())
    if part.endswith("_2") and not pipeline.is_xl:
        allowed = set()
    if part == "low_res_scheduler" and pipeline.sees is not LowResolutionConfig:
        allowed = set()
    if part == "controlnet" and "ControlNet" not in pipeline.name:
        allowed = set()
    if any(list(pair) == value for pair in allowed):
        return
    if part == "scheduler" and library == "diffusers" and name.startswith(("EDM", "Flow")):
        kind = "Karras et al.'s, as of Playground 2.5" if name.startswith("EDM") else "flow's"
        raise CheckpointError(
            f"{where}: the noise of the model is {kind} ({quoted(name)}).\n"
            "This kit loads models with the noise of Stable Diffusion 1, 2 and XL."
        )
    raise CheckpointError(
        f"{where}: {quoted(part)} is of the class {quoted(value)}, which is not on the "
        "list of known classes. Nothing was imported."
    )


def _is_there(index: Mapping[str, Any], part: str) -> bool:
    return isinstance(index.get(part), list) and index[part] != [None, None]


def notices(index: Mapping[str, Any], shown: str) -> tuple[str, ...]:
    """Return what is said of parts that change what the pipeline makes, and that are left out."""
    if not _is_there(index, "controlnet"):
        return ()
    return (f"{shown}: its ControlNet was left out; load_control reads it from the same folder.",)


def pipeline_of(index: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline of a model_index.json, or the usual one for names that are not known."""
    name = index.get("_class_name")
    return PIPELINES.get(name if isinstance(name, str) else "", next(iter(PIPELINES.values())))


_FIRST, _SECOND = ("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")
TEXT_FOLDERS = (_FIRST, _SECOND)
"""The folders (encoder, tokenizer) of the text encoders that a model may have."""


def text_folders(index: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return those of `TEXT_FOLDERS` that a model has: XL's refiner has the second one alone."""
    if not pipeline_of(index).is_xl:
        return (_FIRST,)
    has_first = any(_is_there(index, part) for part in _FIRST)
    return (_FIRST, _SECOND) if has_first or not _is_there(index, _SECOND[0]) else (_SECOND,)


def embedders_from_index(
    index: Mapping[str, Any],
    where: str,
    texts: Sequence[TextConfig],
    network: tuple[UNetConfig, Json, str],
    latent_channels: int,
    low_resolution: LowResolutionConfig | None = None,
) -> tuple[EmbedderConfig, ...]:
    """Return what the network is told.

    ``texts`` are the text encoders' own configs. ``network`` is that of the UNet, with the file
    that says it and that file's name. ``low_resolution`` is what its own scheduler says, if there
    is one. In Stable Diffusion XL, the states are those before the encoders' last layers, and only
    the second encoder's pooled state is used.
    """
    pipeline, fields = pipeline_of(index), Fields(index, where)
    unet, unet_json, unet_where = network
    told: list[EmbedderConfig] = list(texts)
    if pipeline.is_xl:
        zeros = fields.flag("force_zeros_for_empty_prompt", True)
        score = fields.flag("requires_aesthetics_score", False)
        told = [replace(text, skip=1, norm=False, zeros=zeros) for text in texts]
        told.append(sizes_from_json(unet_json, unet_where, score=score))
    if unet.guidance_dim:
        told.append(GuidanceConfig(unet.guidance_dim))
    masked = MaskedImageConfig(latent_channels)
    beside = unet.in_channels - latent_channels
    if pipeline.sees is ImageConfig:
        told.append(ImageConfig(latent_channels))
    elif pipeline.sees is DepthConfig:
        told.append(DepthConfig())
    elif pipeline.sees is LowResolutionConfig:
        small = low_resolution or LowResolutionConfig()
        most = min(fields.integer("max_noise_level", 0, 100_000, small.most), small.levels - 1)
        told.append(replace(small, channels=max(beside, 1), most=most))
    elif beside == masked.concat_width:
        # Any other pipeline's network may inpaint, and that of inpainting may be a plain one.
        told.append(masked)
    return tuple(told)


def with_notes(index: Mapping[str, Any], where: str, config: ModelConfig) -> ModelConfig:
    """Return the config with the name and the defaults that our own notes say."""
    notes = index.get("_sdwidgets", {})
    if not isinstance(notes, dict):
        raise CheckpointError(f"{where}: _sdwidgets is {quoted(notes)}, not an object.")
    own, fields = notes.get("name"), Fields(notes, where)
    return replace(
        config,
        name=own[:100] if isinstance(own, str) and own else config.name,
        guidance_scale=fields.number("guidance_scale", 0.0, 100.0, config.guidance_scale),
        steps=fields.integer("steps", 1, 10_000, config.steps),
        sampler=fields.choice("sampler", _known(SAMPLERS), config.sampler),
        schedule_name=fields.choice("schedule", _known(SCHEDULES), config.schedule_name),
    )


def has_defaults(index: Mapping[str, Any]) -> bool:
    """Whether our own notes say with which settings runs are made."""
    notes = index.get("_sdwidgets")
    return isinstance(notes, dict) and "steps" in notes


def _known(names: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


def pipeline_for(config: ModelConfig) -> Pipeline | None:
    """Return the pipeline under which a model is saved; None if no folder can describe what its
    network is told, or how it reads a text."""
    kinds = [type(each) for each in config.embedders]
    is_xl, is_told, texts = SizesConfig in kinds, GuidanceConfig in kinds, len(config.text)
    sees = next((each.sees for each in PIPELINES.values() if each.sees in kinds), None)
    ordered = [TextConfig] * texts + [SizesConfig] * is_xl + [GuidanceConfig] * is_told
    if kinds != [*ordered, *([sees] if sees else [])] or not can_be_json(config.unet):
        return None
    if config.autoencoder.is_identity or not all(map(_is_seen_as_usual, config.embedders)):
        return None
    if not (_reads_as_xl(config) if is_xl else _reads_alone(config)):
        return None
    if is_xl and (texts == 1 or _sizes(config).score):
        return None if sees else _XL_IMAGE
    if is_told and not is_xl and not sees:
        return _LCM
    fitting = (each for each in PIPELINES.values() if (each.is_xl, each.sees) == (is_xl, sees))
    return next(fitting, None)


def _is_seen_as_usual(told: EmbedderConfig) -> bool:
    """Whether diffusers' pipelines would tell it in the same way; latent diffusion's own models
    see masks and small images in other ways."""
    if isinstance(told, MaskedImageConfig):
        return told == MaskedImageConfig(told.latent_channels)
    return not isinstance(told, LowResolutionConfig) or told.levels > 0


def _reads_alone(config: ModelConfig) -> bool:
    if len(config.text) != 1:
        return False
    (text,) = config.text
    return (text.skip, text.norm, text.zeros, text.projection_dim) == (0, True, False, 0)


def _reads_as_xl(config: ModelConfig) -> bool:
    *first, last = config.text
    if len(first) > 1 or {(text.skip, text.norm) for text in config.text} != {(1, False)}:
        return False
    if len({text.zeros for text in config.text}) > 1 or not last.projection_dim:
        return False
    return not first or (not first[0].projection_dim and config.join == "width")


def model_index(config: ModelConfig) -> Json:
    """Return the content of model_index.json, which diffusers' pipelines read first. The config
    must have a pipeline, see `pipeline_for`."""
    pipeline = pipeline_for(config)
    assert pipeline is not None
    index: Json = {
        "_class_name": pipeline.name,
        "_diffusers_version": "0.30.0",  # whose layout it is; pipelines for inpainting ask
        # Keys that begin with an underscore are notes, which diffusers ignores.
        "_sdwidgets": {
            "name": config.name,
            "guidance_scale": config.guidance_scale,
            "steps": config.steps,
            "sampler": config.sampler,
            "schedule": config.schedule_name,
        },
        "scheduler": ["diffusers", scheduler_class(config)],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", autoencoder_class(config.autoencoder)],
        **{part: [None, None] for part in pipeline.empty},
    }
    if pipeline.empty == _CHECKED:
        index["requires_safety_checker"] = False
    if pipeline.is_xl:
        index["force_zeros_for_empty_prompt"] = config.text[0].zeros
        index |= {part: [None, None] for folders in TEXT_FOLDERS for part in folders}
    if pipeline is _XL_IMAGE:
        index["requires_aesthetics_score"] = _sizes(config).score
    for text, (encoder, tokenizer) in zip(config.text, folders_of(config), strict=True):
        index[encoder] = ["transformers", text_class(text)]
        index[tokenizer] = ["transformers", "CLIPTokenizer"]
    if small := small_image(config):
        index["low_res_scheduler"] = ["diffusers", "DDPMScheduler"]
        index["max_noise_level"] = small.most
    return index


def scheduler_class(config: ModelConfig) -> str:
    """Return diffusers' class of the scheduler with which a model is saved: that of the sampler for
    which it was distilled, and in the pipeline of latent consistency models always theirs."""
    return "LCMScheduler" if pipeline_for(config) is _LCM else scheduler_of(config)


def small_image(config: ModelConfig) -> LowResolutionConfig | None:
    """Return how a network that enlarges images is told the small one; None for all others."""
    told = (each for each in config.embedders if isinstance(each, LowResolutionConfig))
    return next(told, None)


def folders_of(config: ModelConfig) -> tuple[tuple[str, str], ...]:
    """Return the folders (encoder, tokenizer) in which a model's text encoders are saved."""
    is_xl = any(isinstance(each, SizesConfig) for each in config.embedders)
    return TEXT_FOLDERS[-len(config.text) :] if is_xl else TEXT_FOLDERS[: len(config.text)]


def _sizes(config: ModelConfig) -> SizesConfig:
    return next(each for each in config.embedders if isinstance(each, SizesConfig))
