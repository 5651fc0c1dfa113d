"""What a file of weights holds, told by the names of its tensors, never by its suffix.

`KINDS` is the table of everything that is not a whole model of a family that runs here: additions
to a model, parts of one, models of other families, and networks that make no images. Whole models
are told by their numbers, see `families`.

The names are those of the programs that write such files. Sources: the tables of diffusers
(``loaders/single_file_utils.py``, ``loaders/lora_conversion_utils.py``) and of ComfyUI
(``comfy/model_detection.py``, ``comfy/sd.py``), kohya's sd-scripts (``networks/``), LyCORIS
(``lycoris/modules/``), and the code that each network was published with.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

Shapes = Mapping[str, tuple[int, ...]]

Group = Literal["addition", "part", "model", "other"]


_NUMBER = re.compile(r"(?:^|(?<=[._:]))\d+(?=[._:]|$)", re.MULTILINE)


@lru_cache(maxsize=4)  # a file is asked for several times
def _collapsed(names: str) -> Counter[str]:
    """Count the names, one to a line, with "#" for each number in a path."""
    return Counter(_NUMBER.sub("#", names).split("\n"))


class Names:
    """The names of a file's tensors, as rules look at them: each number in a path is a "#".

    A network repeats its blocks, so thousands of names come down to a few hundred, and all rules
    together take milliseconds.
    """

    def __init__(self, shapes: Shapes):
        self.shapes = shapes

    @cached_property
    def _counts(self) -> Counter[str]:
        return _collapsed("\n".join(self.shapes))

    @cached_property
    def _text(self) -> str:
        return "\n".join(self._counts)

    def some(self, pattern: str) -> bool:
        """Whether a name matches, from its start if the pattern begins with ``^``."""
        return re.search(pattern, self._text, re.MULTILINE) is not None

    def count(self, pattern: str) -> int:
        """The number of names that match."""
        found = re.compile(pattern)
        return sum(count for name, count in self._counts.items() if found.search(name))

    def mostly(self, pattern: str) -> bool:
        """Whether at least half of the names match."""
        return 2 * self.count(pattern) >= len(self.shapes) > 0


@dataclass(frozen=True)
class Kind:
    """A row of the table: a kind of file, and how it is told."""

    key: str
    """For programs: "lora", "controlnet", "flux"."""
    words: str
    """What it is, so that it fits into "FILE is ..."."""
    names: tuple[str, ...]
    """Patterns of names, all of which must be found. ``#`` stands for a number."""
    group: Group = "model"
    use: str = ""
    """How this kit takes it, as a piece of code with FILE in it; "" if it does not."""
    most: bool = False
    """Whether at least half of all names must match, so that a stray name decides nothing."""
    fits: Callable[[Shapes], bool] | None = None
    """A further condition, on the shapes."""

    def is_told_by(self, names: Names) -> bool:
        found = names.mostly if self.most else names.some
        return all(map(found, self.names)) and (self.fits is None or self.fits(names.shapes))

    @property
    def title(self) -> str:
        """The words in short: without the article, and without what follows a colon."""
        return re.sub(r"^(an?|the) ", "", self.words.partition(":")[0])

    @property
    def said(self) -> str:
        """The words, and how the kit takes it, so that both fit into "FILE is ..."."""
        if self.use:
            return f"{self.words}, not a whole model; use it with {self.use}"
        if self.group in ("model", "other"):
            return f"{self.words}, which this kit does not run"
        return f"{self.words}, not a whole model, which this kit does not use"


# ------------------------------------------------------------------------------ whole models

WHOLE_UNET = r"^(model\.diffusion_model\.input_blocks\.#\.#|unet\.conv_in)\.weight$"
ENCODERS = (
    r"^(first_stage_model|cond_stage_model|vae|text_encoder(_2)?|conditioner\.embedders|embedder)\."
)

_CONTEXT = re.compile(r"^(model\.diffusion_model\.|unet\.).*attn2\.to_k\.weight$")
_VECTOR = (
    "model.diffusion_model.label_emb.0.0.weight",
    "unet.add_embedding.linear_1.weight",
)


def _context(shapes: Shapes) -> int:
    """The width of the text states of a whole model's UNet; 0 if it has none."""
    return next((shapes[name][-1] for name in shapes if _CONTEXT.match(name) and shapes[name]), 0)


def _vector(shapes: Shapes) -> int:
    """The width of the vector of a whole model's UNet; 0 if it has none."""
    return next((shapes[name][-1] for name in _VECTOR if shapes.get(name)), 0)


def _is_unclip(shapes: Shapes) -> bool:
    return _context(shapes) == 1024 and _vector(shapes) > 0


# Whole models by the names of Stable Diffusion, which take something that this kit cannot give.
_WHOLE = (
    Kind(
        "controlled", "a ControlNet with the model that it controls",
        (r"^control_model\.(input_blocks|time_embed)\.",), use="sdw.load_control(FILE)",
    ),
    Kind(
        "svd", "Stable Video Diffusion, which makes videos",
        (r"^model\.diffusion_model\..*\.(time_stack|time_mixer)\.",),
    ),
    Kind(
        "text_to_video", "a text-to-video model (ModelScope)",
        (r"^model\.diffusion_model\..*\.temopral_conv\.",),
    ),
    Kind("zero123", "a Zero123 model, which turns images around", (r"^cc_projection\.",)),
    Kind(
        "unclip", "a Stable unCLIP model, which starts from images",
        (r"^embedder\.model\.visual\.",),
    ),
    Kind("unclip", "a Stable unCLIP model, which starts from images", (), fits=_is_unclip),
    Kind(
        "alt_diffusion", "an AltDiffusion model (another text encoder)",
        (r"^cond_stage_model\.(roberta|transformation)\.",),
    ),
)  # fmt: skip


# --------------------------------------------------------------------------------- additions

LORA = (
    r"(^|[._])lora[._]|_lora\.|lora_(down|up|mid|A|B|a|b)(\.|$)|^(unet|text_encoder):#:(up|down)|hada_w[12]"
    r"|lokr_w[12]|oft_blocks|dora_scale|on_input$|\.(a1|a2|b1|b2)\.weight$|\.(q|p)_layer\."
    r"|\.lambda_layer$|^(lora_(unet|te\d?|transformer|prior)|lycoris)_|\.(diff|diff_b)$"
)
"""Names in a file of a LoRA, in every way of writing them."""


@dataclass(frozen=True)
class Algorithm:
    """A way to write a change of weights in few numbers."""

    title: str
    names: str  # a pattern
    runs: bool = True  # whether `with_lora` applies it


ALGORITHMS = (
    Algorithm("LoHa", r"\.hada_w1_a$"),
    Algorithm("LoKr", r"\.lokr_w[12](_a)?$"),
    Algorithm("OFT", r"\.oft_blocks$|\.oft_R\b", runs=False),
    Algorithm("IA3", r"\.on_input$"),
    Algorithm("PEFT's IA3", r"\.ia3_l\b", runs=False),
    Algorithm("GLoRA", r"\.a1\.weight$"),
    Algorithm("T-LoRA", r"\.lambda_layer$", runs=False),
    Algorithm("full differences", r"\.diff(_b)?$"),
    Algorithm("norms", r"\.[wb]_norm$"),
    Algorithm(
        "LoRA",
        r"lora_(up|B)(\.default)?(\.weight)?$|\.lora\.up\.weight$|_lora\.up\.weight$"
        r"|lora_linear_layer\.up\.weight$|^\w+:#:up$|^#$",
    ),
)
"""The algorithms of LoRAs, by the names that only they have."""


def algorithms(shapes: Shapes) -> tuple[Algorithm, ...]:
    """The algorithms by which a file of a LoRA was written."""
    names = Names(shapes)
    return tuple(each for each in ALGORITHMS if names.some(each.names))


EMBEDDING = (
    r"^(emb_params|emb|emb2)$|^string_to_param\b|^clip_[lg]$|^text_encoders_#$|^<[^>]*>(_#)?$"
)
"""Names in a file of a textual inversion, in every way of writing them."""

WORD_WIDTHS = (768, 1024, 1280)
"""The widths of the text encoders' tokens."""


def _is_one_word(shapes: Shapes) -> bool:
    """Whether it is diffusers' textual inversion: a single tensor, with the word for a name."""
    if len(shapes) != 1:
        return False
    ((name, shape),) = shapes.items()
    is_small = len(shape) in (1, 2) and (len(shape) == 1 or 0 < shape[0] <= 150)
    return is_small and "." not in name and shape[-1] in (*WORD_WIDTHS, 4096)


def _is_hypernetwork(shapes: Shapes) -> bool:
    """Whether it is A1111's hypernetwork: its layers are listed by the widths that they change."""
    return bool(shapes) and all(
        name.split(".")[0] in ("320", "640", "768", "1024", "1280", "2048") for name in shapes
    )


def _is_list_of_pairs(shapes: Shapes) -> bool:
    """Whether it is cloneofsimo's list of matrices without names: up, down, up, down, ..."""
    order = [shapes.get(str(number), ()) for number in range(len(shapes))]
    pairs = [*zip(order[::2], order[1::2], strict=False)]
    return 2 * len(pairs) == len(shapes) > 0 and all(
        len(up) in (2, 4) and len(down) == len(up) and up[1] == down[0] for up, down in pairs
    )


_ADDITIONS = (
    Kind(
        "motion_lora", "a motion LoRA of AnimateDiff",
        (r"motion_modules\.#\..*lora",), "addition",
    ),
    Kind(
        "embedding_bundle", "a bundle of textual inversions: new words for a model",
        (r"^bundle_emb\.",), "addition", most=True,
    ),
    Kind("lllite", "a ControlNet-LLLite (kohya's small ControlNet)", (r"^lllite_",), "addition"),
    Kind(
        "control_lora", "a Control-LoRA (a ControlNet as a LoRA)",
        (r"^lora_controlnet$|input_hint_block", r"^lora_controlnet$|\.(up|down)$"), "addition",
    ),
    Kind(
        "lora", "a LoRA: a small change to a model", (LORA,), "addition",
        "model.with_lora(FILE)", most=True,
    ),
    Kind(
        "lora", "a LoRA: a small change to a model", (r"^#$",), "addition",
        "model.with_lora(FILE)", most=True, fits=_is_list_of_pairs,
    ),
    Kind(
        "sparse_control", "a SparseCtrl encoder of AnimateDiff",
        (r"motion_modules", r"controlnet_cond_embedding|controlnet_down_blocks"), "addition",
    ),
    Kind(
        "control_union", "a ControlNet Union (several kinds of maps in one network)",
        (r"controlnet_cond_embedding|input_hint_block", r"control_add_embedding|task_embedding"),
        "addition",
    ),
    Kind(
        "control_difference", "the difference of a ControlNet from the model that it controls",
        (r"^difference$", r"^(control_model\.|controlnet_)|input_hint_block"), "addition",
    ),
    Kind(
        "control_xs", "a ControlNet-XS (a small network inside the model's)",
        (r"^control_model\.(control_model|enc_zero_convs_out)\.|^ctrl_to_base|^control_to_base_for",),
        "addition",
    ),
    Kind(
        "control_dit", "a ControlNet of a transformer (Flux, Stable Diffusion 3)",
        (r"^(controlnet_blocks|controlnet_x_embedder|pos_embed_input)\b",), "addition",
    ),
    Kind(
        "controlnet", "a ControlNet: an addition that follows a map of edges, depth or poses",
        (r"^(control_model\.|controlnet_)|input_hint_block",), "addition",
        "sdw.load_control(FILE)",
    ),
    Kind(
        "t2i_adapter", "a T2I-Adapter: an addition that follows a map",
        (r"^(adapter\.)?body\.#\.(in_conv|block1|resnets\.#\.block1)\b|^style_embedding$",),
        "addition",
    ),
    Kind(
        "ip_adapter", "an IP-Adapter: an addition that takes images as prompts",
        (r"^(ip_adapter|image_proj)\.",), "addition",
    ),
    Kind(
        "motion", "a motion module of AnimateDiff, which makes videos of a model's images",
        (r"motion_modules\.#\.",), "addition",
    ),
    Kind(
        "embedding", "a textual inversion: a new word for a model", (EMBEDDING,), "addition",
        "sdw.load(MODEL, embeddings=[FILE])", most=True,
    ),
    Kind(
        "embedding", "a textual inversion: a new word for a model", (), "addition",
        "sdw.load(MODEL, embeddings=[FILE])", fits=_is_one_word,
    ),
    Kind("hypernetwork", "a hypernetwork", (), "addition", fits=_is_hypernetwork),
)  # fmt: skip


# -------------------------------------------------------------------------- models of others

# What ComfyUI, diffusers and their own code write before the names of a network.
_P = r"^(?:model\.diffusion_model\.|diffusion_model\.|model\.|net\.|transformer\.|module\.)?"

_NETWORKS = (
    Kind(
        "flux2", "a Flux 2 model",
        (_P + r"(double|single)_stream_modulation(_img|_txt)?\.(lin|linear)\.",),
    ),
    Kind("chroma", "a Chroma model (of the Flux family)", (_P + r"distilled_guidance_layer\.",)),
    Kind(
        "hunyuan_video", "a Hunyuan Video model",
        (_P + r"(txt_in\.individual_token_refiner|context_embedder\.token_refiner)\.",),
    ),
    Kind(
        "flux", "a Flux model",
        (_P + r"(double_blocks\.#|single_transformer_blocks\.#\.proj_mlp)\.",),
    ),
    Kind("hidream", "a HiDream model", (_P + r"double_stream_blocks\.#\.",)),
    Kind("qwen_image", "a Qwen-Image model", (_P + r"transformer_blocks\.#\.img_mod\.",)),
    Kind(
        "auraflow", "an AuraFlow model",
        (_P + r"(double_layers\.#\.attn\.w1q|joint_transformer_blocks)\b",),
    ),
    Kind(
        "sd3", "a Stable Diffusion 3 model",
        (_P + r"(joint_blocks\.#|transformer_blocks\.#\.ff_context)\.",),
    ),
    Kind("cascade_c", "stage C of Stable Cascade", (_P + r"clip_txt_mapper\.",)),
    Kind(
        "cascade_b", "stage B of Stable Cascade",
        (_P + r"(clip_mapper\.|down_blocks\.#\.#\.channelwise\.)",),
    ),
    Kind("pixart", "a PixArt model", (_P + r"t_block\.#\.weight$",)),
    Kind(
        "pixart", "a PixArt model",
        (_P + r"adaln_single\.emb\.timestep_embedder\.", _P + r"pos_embed\.proj\."),
    ),
    Kind("ltx", "an LTX Video model", (_P + r"(patchify_proj|adaln_single\.emb)\b",)),
    Kind("mochi", "a Mochi video model", (_P + r"(t5_yproj|blocks\.#\.attn\.qkv_x)\.",)),
    Kind(
        "cosmos", "a Cosmos video model",
        (_P + r"(blocks\.block\d+\.blocks|x_embedder\.proj\.#|pos_embedder\.dim_spatial_range)",),
    ),
    Kind("hunyuan_dit", "a Hunyuan DiT model", (_P + r"mlp_t5\.#\.",)),
    Kind(
        "lumina", "a Lumina 2 or Z-Image model",
        (_P + r"cap_embedder\.", _P + r"(noise_refiner|layers)\.#\."),
    ),
    Kind("sana", "a Sana model", (_P + r"blocks\.#\.cross_attn\.(q|kv)_linear\.",)),
    Kind(
        "wan", "a Wan video model",
        (_P + r"(head\.modulation$|vace_blocks\.#|condition_embedder\.time_embedder\.)",),
    ),
    Kind("cogvideo", "a CogVideoX model", (_P + r"patch_embed\.text_proj\.",)),
    Kind(
        "stable_audio", "a Stable Audio model",
        (_P + r"(model\.)?transformer\.rotary_pos_emb\.",),
    ),
    Kind("ace_step", "an ACE-Step model of music", (_P + r"genre_embedder\.",)),
    Kind(
        "svd", "Stable Video Diffusion, which makes videos",
        (r"(time_stack|temporal_transformer_blocks|temporal_res_block)\.",),
    ),
    Kind(
        "text_to_video", "a text-to-video model (ModelScope)",
        (r"\.(temopral_conv|temp_convs)\.",),
    ),
    Kind(
        "kandinsky", "a Kandinsky or DeepFloyd model",
        (r"^(encoder_hid_proj|add_embedding\.image_norm|add_embedding\.norm1)\b", r"add_k_proj"),
    ),
    Kind("kolors", "a Kolors model", (r"^encoder_hid_proj\.weight$", r"^add_embedding\.")),
)  # fmt: skip


def _only_convolves(shapes: Shapes) -> bool:
    """Whether there are no linear layers: any list of layers has the same names."""
    return not any(len(shape) == 2 for shape in shapes.values())


# -------------------------------------------------------------------------------------- parts

_VAE = r"^(first_stage_model\.|vae\.|model\.)?(encoder|decoder)\."

_PARTS = (
    Kind("vae_wan", "the autoencoder (VAE) of Wan or Qwen-Image, for videos",
         (r"^(decoder|encoder)\.(middle\.#|upsamples\.#|downsamples\.#)\.residual\.",), "part"),
    Kind("vae_dc", "a deep-compression autoencoder (DC-AE, of Sana)",
         (_VAE + r"(stages\.#\.op_list|project_in\.conv|up_blocks\.#\.#\.conv_out)\b",), "part"),
    Kind("vae_video", "an autoencoder (VAE) of videos",
         (_VAE + r".*(time_mixer|mix_factor|time_stack|\.conv\.conv\.weight|temporal)",), "part"),
    Kind("vae_cascade", "stage A of Stable Cascade, its autoencoder",
         (r"^(vquantizer\.codebook|in_block\.#)\.weight$",), "part"),
    Kind("cascade_coder", "an image encoder or previewer of Stable Cascade",
         (r"^(encoder\.|previewer\.)?(backbone\.#\.#\.block|blocks\.#\.num_batches_tracked)",),
         "part"),
    Kind("autoencoder", "an autoencoder (VAE) alone",
         (_VAE + r"conv_in\.",), "part", "sdw.load(MODEL, vae=FILE)"),
    Kind("taesd", "a tiny autoencoder (TAESD)",
         (r"^(taesd_)?(encoder|decoder)\.(layers\.)?#\.(conv\.#\.)?weight$|^#\.conv\.#\.weight$",),
         "part", fits=_only_convolves),
    Kind("vae_approx", "VAE-approx, a small network for A1111's previews",
         (r"^conv1\.weight$", r"^conv8\.weight$"), "part"),
    Kind("ema", "the EMA copy of a model, without the model",
         (r"^model_ema\.",), "part", most=True),
    Kind("safety_checker", "a safety checker, which judges images", (r"concept_embeds",), "part"),
    Kind("clip", "a whole CLIP, with its text and its image encoder",
         (r"^(text_model\.|transformer\.resblocks\.#\.)", r"^(vision_model|visual)\."), "part"),
    Kind("image_encoder", "an image encoder alone (as IP-Adapters and unCLIP need)",
         (r"^(vision_model|visual|image_encoder\.vision_model)\.|^embeddings\.patch_embeddings\.",),
         "part"),
    Kind("text_encoder", "a text encoder alone (CLIP)",
         (r"^(cond_stage_model\..*|text_encoder\.|text_encoders\.\w+\.|transformer\.)?(text_model\.)?"
          r"embeddings\.token_embedding|^(cond_stage_model\.)?(model\.)?token_embedding\.weight$",),
         "part", "sdw.load(MODEL, text=FILE)"),
    Kind("t5", "a T5 text encoder alone (of Stable Diffusion 3, Flux, PixArt)",
         (r"^(\w+\.)*encoder\.block\.#\.layer\.#\.SelfAttention\.|^blocks\.#\.attn\.q\.weight$",),
         "part"),
    Kind("unet", "a UNet alone, without autoencoder and text encoder",
         (r"^(diffusion_model\.|module\.)?(down_blocks|input_blocks)\.#",), "part",
         "sdw.load(FILE, vae=VAE, text=TEXT)"),
)  # fmt: skip


# ------------------------------------------------------------------------------ other networks

_OTHERS = (
    Kind("face", "a network that restores faces (GFPGAN, CodeFormer)",
         (r"(^|\.)(stylegan_decoder|ft_layers|fuse_convs_dict)\.",), "other"),
    Kind("upscaler", "an upscaler of finished images (ESRGAN)",
         (r"(^|\.)(RRDB_trunk\.#|body\.#\.rdb1|model\.#\.sub\.#\.RDB1)\.",), "other"),
    Kind("upscaler", "an upscaler of finished images (SwinIR, HAT, DAT)",
         (r"(^|\.)conv_first\.weight$", r"(^|\.)layers\.#\.(residual_group|blocks)\."), "other"),
    Kind("upscaler", "an upscaler of finished images (Real-ESRGAN compact)",
         (r"^((params|params_ema)\.)?body\.#\.weight$", r"^((params|params_ema)\.)?body\.#\.bias$"),
         "other", fits=_only_convolves),
    Kind("segmentation", "a network that cuts out objects (SAM)",
         (r"(^|\.)mask_decoder\.",), "other"),
    Kind("language_model", "a language model",
         (r"(^|\.)(embed_tokens|wte|word_embeddings)\.weight$",), "other"),
)  # fmt: skip

EMPTY = Kind("empty", "empty: it has no tensors", (), "other")
UNKNOWN = Kind("unknown", "not a diffusion model of a known layout", (), "other")

KINDS = (*_WHOLE, *_ADDITIONS, *_NETWORKS, *_PARTS, *_OTHERS)
"""Every kind of file that is not a whole model which runs here, in the order in which they are
looked for. The kinds of whole models come first, but only for files that have a UNet and an
encoder."""


def kind_of(shapes: Shapes) -> Kind | None:
    """The kind of a file with these tensors; None if it may be a whole model that runs here.

    ``shapes`` maps the tensors' names to their shapes. The names that a file needs decide, so that
    a stray name in a whole model does not make it something else.
    """
    if not shapes:
        return EMPTY
    names = Names(shapes)
    if names.some(WHOLE_UNET) and names.some(ENCODERS):
        return next((kind for kind in _WHOLE if kind.is_told_by(names)), None)
    for kinds in (_ADDITIONS, _NETWORKS):
        if kind := next((kind for kind in kinds if kind.is_told_by(names)), None):
            return kind
    if names.some(r"^(model\.diffusion_model|unet)\."):
        return None  # a UNet with its prefix, which loads with vae= and text=
    return next((kind for kind in (*_PARTS, *_OTHERS) if kind.is_told_by(names)), UNKNOWN)


def foreign_names(shapes: Shapes) -> str | None:
    """Say what a file with these tensors is if it is not a whole model of a family that runs here.

    The answer fits into "FILE is ..."; None means that it may be one.
    """
    kind = kind_of(shapes)
    if kind is UNKNOWN:
        first = ascii(min(shapes)[:60])[:60]
        return f"{kind.words} ({len(shapes):,} tensors, the first named {first})"
    if kind is EMPTY:
        return kind.words
    return kind.said if kind is not None else None


def family(context_width: int) -> str | None:
    """The published family with text states of this width, for "looks like ..."."""
    return {
        768: "Stable Diffusion 1",
        1024: "Stable Diffusion 2",
        2048: "Stable Diffusion XL",
    }.get(context_width)
