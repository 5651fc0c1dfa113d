"""How files of LoRAs name the modules that they change, and the tensors of each.

No list of layers is written here. The table is made from the modules of the model at hand, each in
every spelling that programs use: diffusers' paths, Stability's ("sgm") paths, with dots or with
underscores, with the prefixes of kohya (``networks/lora.py`` of kohya-ss/sd-scripts), of three
generations of diffusers (``loaders/lora_conversion_utils.py``), of PEFT and of LyCORIS. Names with
underscores cannot be split back into paths, so the table is the only way to read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..configs import TextConfig, UNetConfig
from .names import UNET, Lookup, compvis_unet_names

Shape = tuple[int, ...]


class Place(NamedTuple):
    """A module of a model: its network (0 is the UNet, then the text encoders) and its path."""

    part: int
    module: str


Table = Mapping[str, Sequence[Place]]


def table(unet: UNetConfig, texts: Sequence[TextConfig], names: Sequence[Iterable[str]]) -> Table:
    """Return the places that each spelling of a module may mean.

    ``names`` are the parameters' names of the UNet and of each text encoder.
    """
    found: dict[str, list[Place]] = {}
    stability = compvis_unet_names(unet)
    for part, parameters in enumerate(names):
        modules = dict.fromkeys(name.rpartition(".")[0] for name in parameters)
        for module in modules:
            spelled = (
                _unet_spellings(module, stability)
                if part == 0
                else _text_spellings(module, part, texts[part - 1], len(texts))
            )
            for name in dict.fromkeys(spelled):
                found.setdefault(name, []).append(Place(part, module))
    return found


def _unet_spellings(module: str, names: Lookup) -> Iterator[str]:
    paths = [module, *_processor(module)]
    stability = _stability(module, names)
    for path in paths:
        for prefix in ("", "unet.", "base_model.model.", "base_model.model.unet."):
            yield prefix + path
    for prefix in ("diffusion_model.", "model.diffusion_model."):
        yield prefix + stability
        yield prefix + module  # as ComfyUI writes what it has no other name for
    for path in (*paths, stability):
        underscored = path.replace(".", "_")
        for prefix in ("lora_unet_", "lora_unet_unet_", "lycoris_unet_", "lycoris_"):
            yield prefix + underscored


def _processor(module: str) -> list[str]:
    """The path by which diffusers named projections of attention while processors held LoRAs."""
    found = re.fullmatch(r"(.*\.attn[12])\.(to_[qkv]|to_out)(\.0)?", module)
    return [f"{found[1]}.processor.{found[2]}"] if found else []


def _stability(module: str, names: Lookup) -> str:
    # what CompVis's code does not have keeps diffusers' name
    try:
        (first, *_) = names(f"{module}.weight")
    except KeyError:
        return module
    return first.name.removeprefix(UNET).removesuffix(".weight")


def _text_spellings(module: str, part: int, config: TextConfig, count: int) -> Iterator[str]:
    bare = module.removeprefix("text_model.")
    paths = [f"text_model.{bare}", bare]
    if found := re.fullmatch(r"(.*\.self_attn)\.([qkv]|out)_proj", bare):
        paths += [f"{text}{found[1]}.to_{found[2]}" for text in ("text_model.", "")]
    numbers = {part}
    if count == 1 and config.projection_dim:
        numbers.add(2)  # the refiner of Stable Diffusion XL has only the second
    dotted, joined = ["base_model.model.", ""], list[str]()
    if 1 in numbers:
        dotted += ["text_encoder.", "text_encoders.clip_l.transformer."]
        joined += ["lora_te_", "lora_te1_", "lora_te_wrapped_transformer_", "lycoris_te_"]
        joined += ["lycoris_te1_"]
    if 2 in numbers:
        dotted += ["text_encoder_2.", "text_encoders.clip_g.transformer."]
        joined += ["lora_te2_", "lycoris_te2_"]
    for path in paths:
        yield from (prefix + path for prefix in dotted)
        yield from (prefix + path.replace(".", "_") for prefix in joined)


# What follows a module's name, and our name for that tensor.
_SUFFIXES = {
    **{
        suffix.replace("DOWN", theirs): f"lora_{ours}"
        for ours, theirs in (("down", "down"), ("up", "up"), ("mid", "mid"))
        for suffix in (
            ".lora_DOWN.weight",  # kohya, LyCORIS
            ".lora.DOWN.weight",  # diffusers, 2023
            ".lora_linear_layer.DOWN.weight",  # diffusers, 2023, text encoders
            "_lora.DOWN.weight",  # diffusers, 2022: to_q_lora
            "_lora_DOWN.weight",  # converted wrongly, and shared
        )
    },
    ".lora_A.weight": "lora_down",  # PEFT
    ".lora_B.weight": "lora_up",
    ".lora_A": "lora_down",
    ".lora_B": "lora_up",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".dora_scale": "dora_scale",
    ".alpha": "alpha",
    ".lora.alpha": "alpha",
    ".lora_linear_layer.alpha": "alpha",
    "_lora.alpha": "alpha",
    ".scalar": "scalar",
    **{f".{name}": name for name in (
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
        "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
        "diff", "diff_b", "w_norm", "b_norm", "on_input",
    )},
    **{f".{name}.weight": name for name in ("a1", "a2", "b1", "b2", "bm")},
    ".weight": "weight",  # IA3
}  # fmt: skip

_LONGEST_FIRST = sorted(_SUFFIXES, key=len, reverse=True)

REFUSED = {
    "OFT": re.compile(r"\.(oft_blocks|oft_diag|oft_R)\b"),
    "T-LoRA": re.compile(r"\.(lambda_layer|[qp]_layer)\b"),
    "biases in sparse form": re.compile(r"\.bias_(values|indices|size)$"),
    "a LoRA of embeddings": re.compile(r"\.lora_embedding_[AB]\b"),
    "new biases of PEFT": re.compile(r"\.lora_B(\.[^.]+)?\.bias$"),
    "several scales (reshape_weight, set_weight)": re.compile(r"\.(reshape|set)_weight$"),
}
"""What has no formula here, told by the names of tensors."""

_ADAPTER = re.compile(r"\.(lora_[AB]|lora_magnitude_vector)\.[^.]+(\.weight)?$")
_NUMBERED = re.compile(r"(unet|text_encoder):(\d{1,6}):(up|down)")
_WORD = re.compile(r"<[^>]+>(_\d+)?$|bundle_emb\.")


def split(name: str) -> tuple[str, str] | None:
    """Return the module that a tensor belongs to, as the file spells it, and the tensor's kind.

    None if no LoRA has such a tensor.
    """
    if found := _NUMBERED.fullmatch(name):
        return f"{found[1]}:{int(found[2])}", f"lora_{found[3]}"
    if not name.endswith((".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector.weight")):
        # PEFT may keep the adapter's name in between: lora_A.default.weight
        name = _ADAPTER.sub(r".\1\2", name)
    for suffix in _LONGEST_FIRST:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix), _SUFFIXES[suffix]
    return None


def is_word(name: str) -> bool:
    """Whether a tensor is a learnt word that some programs put into the file of a LoRA."""
    return _WORD.match(name) is not None


# ------------------------------------------------------------------------ numbers for names

_CLASSES = {
    "CrossAttention": r"\.attn[12]\.",
    "Attention": r"\.attn[12]\.",
    "GEGLU": r"\.ff\.net\.0\.proj$",
    "FeedForward": r"\.ff\.net\.",
    "BasicTransformerBlock": r"\.transformer_blocks\.",
    "Transformer2DModel": r"\.attentions\.\d+\.(proj_in|proj_out|transformer_blocks)",
    "ResnetBlock2D": r"\.resnets\.\d+\.(conv|time_emb_proj)",
    "CLIPAttention": r"\.self_attn\.",
    "CLIPMLP": r"\.mlp\.",
    "CLIPEncoderLayer": r"\.(self_attn|mlp)\.",
}
"""diffusers' and transformers' classes, and the paths of their layers."""

DEFAULT_CLASSES = {
    "unet": ("CrossAttention", "Attention", "GEGLU"),
    "text_encoder": ("CLIPAttention",),
}
"""The classes whose layers a file changes that does not say so."""

_ORDERS: tuple[tuple[str, ...], ...] = (
    ("attn1", "ff", "attn2"),  # of diffusers to 0.17
    ("attn1", "attn2", "ff"),
)


def unknown_classes(classes: Iterable[str]) -> list[str]:
    """Return those of ``classes`` whose layers are not known here."""
    return [name for name in classes if name not in _CLASSES]


def numbered(names: Iterable[str], classes: Iterable[str]) -> list[list[str]]:
    """Return the modules that cloneofsimo's numbers count, in every order that they may have.

    ``names`` are the parameters of a network. The numbers follow diffusers' order of modules: the
    UNet's middle comes last, and attention before residual blocks. The order inside a transformer
    block changed with diffusers' versions; shapes tell which it was
    (``lora_diffusion/lora.py`` of cloneofsimo/lora, ``_find_modules``).
    """
    pattern = re.compile("|".join(_CLASSES[name] for name in classes) or "(?!)")
    modules = dict.fromkeys(name.rpartition(".")[0] for name in names)
    layers = [each for each in modules if pattern.search(each) and not _is_norm(each)]
    return [sorted(layers, key=_keys(layers, order).__getitem__) for order in _ORDERS]


def _is_norm(module: str) -> bool:
    return re.search(r"norm\d*$", module) is not None


def _keys(modules: Sequence[str], order: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return keys that sort modules as diffusers builds them.

    Siblings whose order is not told by a rule keep the one in which they come.
    """
    ranks = {
        name: place
        for names in (("down_blocks", "up_blocks", "mid_block"), ("attentions", "resnets"), order)
        for place, name in enumerate(names)
    }
    siblings: dict[str, dict[str, int]] = {}
    keys = {}
    for module in modules:
        parent, key = "", list[int]()
        for step in module.split("."):
            known = siblings.setdefault(parent, {})
            key.append(ranks.get(step, known.setdefault(step, len(known))))
            parent = f"{parent}.{step}"
        keys[module] = tuple(key)
    return keys
