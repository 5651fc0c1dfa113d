"""Conditioning: from the inputs given for an image to the inputs of the denoising network.

Two routes are those of "High-Resolution Image Synthesis with Latent Diffusion Models" (Rombach et
al., arXiv 2112.10752, section 3.3): cross-attention and concatenation. The others go into the time
embedding: the vector of "SDXL" (Podell et al., arXiv 2307.01952, section 2.2), the features of the
guidance scale (Meng et al., arXiv 2210.03142, section 3.1), and a class. An `Embedder` turns its
fields of `Given` into its part of the routes. A model has any number of embedders, and
`condition` joins their parts. Runs, training, the lab and questions about a trace all use it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from numbers import Integral, Real
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..configs import EmbedderConfig, Join
from ..errors import InputError
from ..numerics import is_finite
from ..prompts import USUAL, Reading

Span = tuple[int, int]

NO_TOKEN = -1
"""In `Tokens.places`: there is no start, or no end."""

_BETWEEN = ", "  # names in the text that they make up
Box = tuple[float, float, float, float]  # x0, y0, x1, y1
Layout = tuple[tuple[str, Box], ...]


@dataclass(frozen=True, eq=False)
class Held:
    """A tensor in a `Given`. It is equal to itself alone, so a `Given` has a hash."""

    values: Tensor


@dataclass(frozen=True)
class Given:
    """The inputs given for one image.

    ``size``: (width, height) of the image in pixels. ``prompt``: a text, or the name of a class.
    None means unconditional: guidance leads away from it (arXiv 2207.12598), and training replaces
    dropped prompts by it. ``original_size`` (width, height), ``crop`` (left, top) and
    ``target_size`` (width, height) are told to Stable Diffusion XL: the size that a training image
    once had, the corner it was cropped from, and the size it was scaled to. None stands for
    ``size``, uncropped. ``aesthetic_score``: the refiner of Stable Diffusion XL is told it.

    ``image``: [3, H, W] in [-1, 1], an image that the network sees beside the latents, of ``size``;
    for an upscaler, of the latents' size, with the noise of ``noise_level`` on it. ``mask``:
    [1, H, W], 1 where the image is to be repainted. ``depth``: [1, H', W'], a depth map of any size
    and range. ``guidance_scale``: for a network that is told it, and needs no guidance.

    ``label``: the name of a class; None is the null class. ``boxes``: (name, (x0, y0, x1, y1)) of
    each object of a layout, in fractions of the image from its upper left corner. ``label_map``:
    [1, H, W], the number of the class of each pixel, of ``size``. ``neighbours``: images [3, h, w]
    in [-1, 1], of any size, that the image is to resemble. None of each means unconditional; a
    layout without boxes, (), says that the image is empty.

    ``toward``: (another prompt, a share from 0 to 1): the network is told what lies that share of
    the way from the prompt to the other; see `condition`.

    ``reading``: how text encoders read the prompt. Raises InputError for other values.
    """

    prompt: str | None
    size: tuple[int, int]
    original_size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    target_size: tuple[int, int] | None = None
    aesthetic_score: float | None = None
    image: Held | None = None
    mask: Held | None = None
    depth: Held | None = None
    noise_level: int | None = None
    guidance_scale: float | None = None
    label: str | None = None
    boxes: Layout | None = None
    label_map: Held | None = None
    neighbours: tuple[Held, ...] | None = None
    toward: tuple[str, float] | None = None
    reading: Reading = USUAL

    def __post_init__(self) -> None:
        if not (self.prompt is None or isinstance(self.prompt, str)):
            raise InputError("A prompt is a text or None.", parameter="prompt")
        if not (self.toward is None or _is_toward(self.toward)):
            raise InputError("toward is a prompt and a number from 0 to 1.", parameter="toward")
        for name in ("size", "original_size", "crop", "target_size"):
            pair = getattr(self, name)
            if (name == "size" or pair is not None) and not _is_pair(pair):
                raise InputError(
                    f"{name} must be a tuple of two whole numbers of pixels.", parameter=name
                )
        if not (self.label is None or isinstance(self.label, str)):
            raise InputError("A label is the name of a class, or None.", parameter="label")
        if not (self.boxes is None or _is_layout(self.boxes)):
            raise InputError(
                "boxes must be a tuple of (name, (x0, y0, x1, y1)) in fractions of the image.",
                parameter="boxes",
            )
        if not (self.neighbours is None or _are_neighbours(self.neighbours)):
            raise InputError(
                "neighbours must be a tuple of Held tensors [3, h, w] of finite floats.",
                parameter="neighbours",
            )
        for name, channels in (("image", 3), ("mask", 1), ("depth", 1), ("label_map", 1)):
            held = getattr(self, name)
            if held is not None and not _is_held(held, channels):
                raise InputError(
                    f"{name} must be a Held tensor [{channels}, H, W] of finite floats.",
                    parameter=name,
                )
        for name, kind in (
            ("aesthetic_score", Real),
            ("noise_level", Integral),
            ("guidance_scale", Real),
        ):
            number = getattr(self, name)
            if not (number is None or isinstance(number, kind)):
                raise InputError(f"{name} must be a number.", parameter=name)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """The network's inputs for a batch, by route. A route that a model does not have is None."""

    context: Tensor | None = None  # [B, T, D], for cross-attention
    vector: Tensor | None = None  # [B, V], added to the time embedding
    concat: Tensor | None = None  # [B, C, h, w], beside the latents
    guidance: Tensor | None = None  # [B, G], features of the guidance scale
    label: Tensor | None = None  # [B] int64, a class

    def to(
        self, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Conditioning:
        """Return the same on a device and, but for the classes, in a type."""
        return self._each(
            lambda route: route.to(device, dtype if route.is_floating_point() else None)
        )

    def rows(self, index: Sequence[int]) -> Conditioning:
        """Return the rows ``index`` of the batch, in that order and with repetitions."""
        return self._each(lambda route: route[list(index)])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        routes = (getattr(self, field.name) for field in fields(self))
        return Conditioning(*(None if route is None else change(route) for route in routes))


@dataclass(frozen=True)
class Tokens:
    """Prompts as the network reads them, with an entry per prompt in most fields.

    ``ids`` [B, T] int64, the tokens of the context: in each chunk start, the pieces, end, padding.
    ``pieces``: the pieces that were kept, in readable form; joined, they are the prompt without
    spaces and brackets, as the tokenizer spells it (in lower case). If a character takes several
    tokens, as emoji do, the last of them shows it and the others are "". ``cut``: the end of the
    prompt that did not fit, as the prompt spells it, or "". ``words``: for each piece, the (start,
    end) of its characters in the prompt. ``controls``: control tokens, such as "<|endoftext|>",
    that the prompts spell out, and ``unknown``: their words that the vocabulary does not have; each
    once.

    ``places``: which tokens of the context are the start, the pieces and the end, and `NO_TOKEN`
    for a start or an end that a context does not have. ``periods``: after how many tokens a context
    begins again, which it does if the batch has longer ones; T if it does not. ``chunks``: how many
    chunks a prompt has. ``weights``: that of each piece. ``learnt``: for each piece, the learnt
    word whose vector it is, or "". ``()`` stands for a single chunk of ordinary pieces with weights
    of 1.

    ``texts``: for each prompt, the text in which ``words`` are, where that is not the prompt: for a
    layout "cat, dog".

    ``padded``: whether empty chunks follow shorter contexts, which could not be repeated.
    ``padding``: the token after the end. ``others``: the same prompts as further text encoders of
    the model read them, each with its own ids and padding.
    """

    ids: Tensor
    pieces: tuple[tuple[str, ...], ...]
    cut: tuple[str, ...]
    words: tuple[tuple[Span, ...], ...]
    controls: tuple[str, ...] = ()
    places: tuple[tuple[int, ...], ...] = ()
    periods: tuple[int, ...] = ()
    chunks: tuple[int, ...] = ()
    weights: tuple[tuple[float, ...], ...] = ()
    learnt: tuple[tuple[str, ...], ...] = ()
    padded: bool = False
    padding: str = ""
    others: tuple[Tokens, ...] = ()
    texts: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @classmethod
    def without_words(cls, ids: Tensor) -> Tokens:
        """Return tokens with these ``ids`` [B, length] and without any words."""
        none: tuple[tuple[()], ...] = ((),) * len(ids)
        return cls(ids, none, ("",) * len(ids), none)

    @classmethod
    def of_names(
        cls,
        ids: Tensor,
        names: Sequence[Sequence[str]],
        *,
        after: Sequence[str] = (),
        periods: Sequence[int] = (),
    ) -> Tokens:
        """Return tokens with these ``ids`` [B, T] that begin with ``names``, a list for each image.

        Each name is a word of their text, "cat, dog", and a token, which the pieces ``after`` of
        the same word follow. There is no start and no end.
        """
        pieces = [tuple(piece for name in row for piece in (name, *after)) for row in names]
        words = [tuple(span for span in _spans(row) for _ in (0, *after)) for row in names]
        return cls(
            ids,
            tuple(pieces),
            cut=("",) * len(ids),
            words=tuple(words),
            places=tuple((NO_TOKEN, *range(len(row)), NO_TOKEN) for row in pieces),
            periods=tuple(periods) or (ids.shape[1],) * len(ids),
            texts=tuple(map(_BETWEEN.join, names)),
        )

    def first(self, count: int) -> Tokens:
        """Return those of the first ``count`` prompts."""
        if count == len(self.ids):
            return self
        names = ["pieces", "cut", "words", "places", "periods", "chunks", "weights", "learnt"]
        names += ["texts"]
        return replace(
            self,
            ids=self.ids[:count],
            others=tuple(each.first(count) for each in self.others),
            **{name: getattr(self, name)[:count] for name in names},
        )


class Embedder(Protocol):
    """Turns some fields of `Given` into its part of the `Conditioning`.

    ``config`` describes it in numbers, ``model`` holds its weights (`nn.Identity` if it has none),
    and ``inputs`` are the fields of `Given` that it reads.
    """

    model: nn.Module

    @property
    def config(self) -> EmbedderConfig: ...
    @property
    def inputs(self) -> AbstractSet[str]: ...

    def tokens(self, given: Sequence[Given]) -> Tokens | None:
        """Return the tokens of its context, with their words; None if it has no context. Raises
        InputError for inputs that it cannot read."""
        ...

    def embed(self, given: Sequence[Given]) -> Conditioning:
        """Return its part of each route for the batch ``given``, with gradients."""
        ...


E = TypeVar("E", bound=Embedder)


def replaced(embedder: E, model: nn.Module) -> E:
    """Return a copy of an embedder whose weights are those of ``model``."""
    copied = copy.copy(embedder)
    copied.model = model
    return copied


def read(embedders: Sequence[Embedder], given: Sequence[Given]) -> Tokens:
    """Return the tokens whose words have heat maps: those of the first embedder with a context,
    with those of `Tokens.others`. Of two prompts that are blended, they are the first's.

    Raises InputError for a prompt or another input that no embedder takes, or that an embedder
    cannot read.
    """
    taken = frozenset[str]().union(*(embedder.inputs for embedder in embedders))
    whole = ends_of(given)
    for index, each in enumerate(whole):
        for name in (field.name for field in fields(Given)):
            if name not in taken | {"size", "reading"} and _says_something(getattr(each, name)):
                raise _refused("toward" if index >= len(given) else name)
    found = [embedder.tokens(whole) for embedder in embedders]
    first, *others = [tokens for tokens in found if tokens is not None] or [
        Tokens.without_words(torch.zeros(len(whole), 0, dtype=torch.int64, device="cpu"))
    ]
    return (replace(first, others=tuple(others)) if others else first).first(len(given))


def condition(
    embedders: Sequence[Embedder],
    given: Sequence[Given],
    *,
    join: Join = "tokens",
    device: torch.device | None = None,
) -> Conditioning:
    """Return the conditioning of a batch by all embedders together.

    Contexts are joined along their tokens or, with ``join="width"``, along their width (for SDXL's
    two text encoders); vectors and features of the guidance scale along their width, concats along
    their channels. An embedder in training gives gradients where they are enabled. The others give
    float32, and embed equal inputs only once.

    Where a `Given` has another prompt, ``toward``, all routes are (1 - share) times those of the
    prompt plus share times those of the other, token by token. Both are contexts of one batch, so
    they have equally many chunks. At 0 they are those of the prompt alone, at 1 those of the other.
    """
    parts = [_embedded(embedder, ends_of(given)) for embedder in embedders]
    if device is not None:
        parts = [part.to(device) for part in parts]
    along = {"tokens": 1, "width": 2}[join]
    told = Conditioning(
        _joined([part.context for part in parts], along),
        _joined([part.vector for part in parts], 1),
        _joined([part.concat for part in parts], 1),
        _joined([part.guidance for part in parts], 1),
        next((part.label for part in parts if part.label is not None), None),
    )
    return told if not any(map(_is_blended, given)) else _blended(told, given)


def ends_of(given: Sequence[Given]) -> list[Given]:
    """Return the same with each prompt alone, then each that one of them goes ``toward``.

    Without a prompt, a label goes toward the class of that name.
    """
    others = [
        replace(
            each,
            prompt=each.toward[0],
            toward=None,
            label=each.label if _says_something(each.prompt) else None,
        )
        for each in given
        if each.toward is not None and _is_blended(each)
    ]
    return [each if each.toward is None else replace(each, toward=None) for each in given] + others


def conditioned(
    unet: Callable[..., Tensor], told: Conditioning
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return ``network(x [B, C, h, w], t [B])``: the UNet with its conditioning bound to it."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        x = x if told.concat is None else torch.cat([x, told.concat], dim=1)
        return unet(x, t, told.context, told.vector, guidance=told.guidance, label=told.label)

    return network


def learns(embedder: Embedder) -> bool:
    """Whether any of an embedder's weights is being trained."""
    return any(weight.requires_grad for weight in embedder.model.parameters())


def _embedded(embedder: Embedder, given: Sequence[Given]) -> Conditioning:
    if torch.is_grad_enabled() and learns(embedder):
        return embedder.embed(given)
    read = ("size", *sorted(embedder.inputs))
    keys = [tuple(getattr(each, name) for name in read) for each in given]
    distinct = dict(zip(keys, given, strict=True))
    place = {key: index for index, key in enumerate(distinct)}
    with torch.no_grad():
        part = embedder.embed(tuple(distinct.values())).rows([place[key] for key in keys])
    return part.to(dtype=torch.float32)


def _spans(names: Sequence[str]) -> list[Span]:
    """Where each name is in the text that they make up."""
    ends = accumulate(len(name) + len(_BETWEEN) for name in names)
    return [
        (end - len(_BETWEEN) - len(name), end - len(_BETWEEN))
        for name, end in zip(names, ends, strict=True)
    ]


def _is_blended(given: Given) -> bool:
    return given.toward is not None and given.toward[1] > 0


def _blended(told: Conditioning, given: Sequence[Given]) -> Conditioning:
    """What is told of `ends_of` the batch, blended to a row for each ``given``."""
    own, others, shares = list(range(len(given))), list(range(len(given))), [0.0] * len(given)
    for place, index in enumerate([i for i in own if _is_blended(given[i])], start=len(given)):
        toward = given[index].toward
        assert toward is not None
        others[index], shares[index] = place, toward[1]

    def blended(route: Tensor) -> Tensor:
        if not route.is_floating_point():
            return route[own]  # a class that is no prompt's
        share = torch.tensor(shares, dtype=route.dtype, device=route.device)
        return torch.lerp(route[own], route[others], share.view(-1, *[1] * (route.ndim - 1)))

    return told._each(blended)


def _joined(routes: Sequence[Tensor | None], dim: int) -> Tensor | None:
    some = [route for route in routes if route is not None]
    return torch.cat(some, dim) if some else None


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(number, Integral) and number >= 0 for number in value)  # type: ignore[operator]
    )


def _is_toward(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (int, float))
        and 0 <= value[1] <= 1
    )


def _is_held(value: object, channels: int) -> bool:
    if not isinstance(value, Held) or not isinstance(value.values, Tensor):
        return False
    values = value.values
    is_image = values.ndim == 3 and values.shape[0] == channels and values.numel() > 0
    return is_image and values.is_floating_point() and is_finite(values)


def _is_layout(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(each, tuple)
        and len(each) == 2
        and isinstance(each[0], str)
        and isinstance(each[1], tuple)
        and len(each[1]) == 4
        and all(isinstance(number, Real) and 0 <= number <= 1 for number in each[1])  # type: ignore[operator]
        for each in value
    )


def _are_neighbours(value: object) -> bool:
    return isinstance(value, tuple) and all(_is_held(each, 3) for each in value)


def _says_something(value: object) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _refused(name: str) -> InputError:
    if name == "prompt":
        return InputError(
            "This model takes no prompt: it was trained on images without captions.\n"
            "Leave the prompt empty.",
            parameter="prompt",
        )
    return InputError(f"This model takes no {name}.\nLeave it out.", parameter=name)
