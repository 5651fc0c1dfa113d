"""Asking a model about a finished run: other words against its queries, the run without a word.

Attention is a correlation: what the network looked at. Taking a word away is an intervention: what
the word did. Side by side, they show how far the first can be read as the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from .. import checks
from ..contract import SPECIAL
from ..errors import InputError
from ..models.conditioning import Conditioning, Given, Tokens
from ..pictures import Start
from ..settings import Settings
from .attention import HasAttention, chosen, grid_of
from .heat import heat_map
from .maps import sizes, word_map
from .recipe import DEFAULT
from .record import Record, StepNumbers
from .sheet import ablation_sheet
from .step import Maps, StepAttention
from .tokens import PromptTokens

if TYPE_CHECKING:
    from .figure import Sheet
    from .trace import Trace


class Fingerprinted(Protocol):
    """A model by its weights."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...  # of the weights


@runtime_checkable
class Askable(Fingerprinted, Protocol):
    """What is asked of a model here; `sdwidgets.LatentDiffusion` has these members."""

    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...  # of the network
    @property
    def unet(self) -> HasAttention: ...
    @property
    def config(self) -> Any: ...  # configs.ModelConfig
    def tokenize(self, given: Sequence[str | Given]) -> Tokens: ...
    def condition(self, given: Sequence[str | Given]) -> Conditioning: ...
    def generate(self, prompt: str, **settings: Any) -> Trace: ...  # one image
    def run(self, settings: Settings, start: Start | None = None, **given: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class Ablation:
    """A run and the same run without a word, or with another word in its place."""

    word: str
    replacement: str  # "" if the word was only left out
    before: Trace = field(repr=False)  # the run with it
    trace: Trace  # the other run
    change: np.ndarray = field(repr=False)
    """[H, W] float32 in [0, 1]: how far each pixel moved, the mean over red, green and blue."""
    heat: np.ndarray | None = field(default=None, repr=False)
    """[H, W]: the word's `Trace.heat_map` in the first run, if attention was recorded."""
    correlation: float | None = None
    """Pearson's, of change and heat; None if nothing was recorded or nothing changed."""
    picture: int = 0  # the image's index in the first run's batch

    def figure(self, *, width: float = 6.75) -> Sheet:
        """A matplotlib figure, ``width`` inches wide: both images, the change, the heat map."""
        return ablation_sheet(self, width=width)


def query(
    record: Record,
    word: str,
    *,
    prompt: str | None = None,
    step: StepNumbers = None,
    picture: int = 0,
    model: Askable | None = None,
) -> np.ndarray:
    """[H, W] float32: see `Trace.query`."""
    if not isinstance(word, str) or not word.strip():
        raise InputError("Ask for a word: a text that is not empty.", parameter="word")
    model = model_of(record, model)
    picture = checks.index("picture", picture, record.batch_size)
    record.check_prompt(picture)
    text = f"{record.prompt_of(picture).prompt} {word}".strip() if prompt is None else prompt
    given, read = _asked(model, record, text)
    tokens = PromptTokens.of(text, read)
    found = tokens.find(word)
    kept = [one.attention or StepAttention() for one in record.chosen_steps(step)]
    if not kept or not all(one.queries for one in kept):
        raise InputError(
            "No queries were recorded.\n"
            "Generate with attention=sdwidgets.AttentionSettings(queries=True)."
        )
    height, width = record.steps[0].x.shape[-2:]
    context = model.condition([given]).to(model.device, model.dtype).context
    assert context is not None  # a word was found, so there are words
    columns = chosen(read, [0])
    maps = [_maps(model, one, context, columns, picture, (height, width)) for one in kept]
    layers = DEFAULT.layers(sizes(maps[0]), (height, width))
    size = record.size[::-1]
    return word_map(maps, tokens, found, size, layers=layers, against=DEFAULT.against)


@torch.no_grad()
def _maps(
    model: Askable,
    attention: StepAttention,
    context: torch.Tensor,
    columns: torch.Tensor | None,
    picture: int,
    latents: tuple[int, int],
) -> Maps:
    """Layer -> [1, 1, T, h, w] float32: the step's queries against the keys of a context.

    ``columns``: which of its tokens are the prompt's; see `attention.chosen`.
    """
    layers = model.unet.cross_attentions()
    if not set(attention.queries) <= set(layers):
        raise InputError("This model has other layers than the one of the run.", parameter="model")
    maps = {}
    for name, (values, scale) in attention.queries.items():
        q = torch.from_numpy(values[picture : picture + 1] * scale[picture : picture + 1])
        p = layers[name].probabilities_of(q.to(context.device, context.dtype), context)
        p = p.mean(1, keepdim=True)
        if columns is not None:
            p = p @ columns[:, None].to(p.device, p.dtype)
            p = torch.cat([p, 1 - p.sum(-1, keepdim=True)], dim=-1)
        mean = p.mT  # [1, 1, T, N]
        maps[name] = mean.unflatten(-1, grid_of(mean.shape[-1], *latents)).cpu().numpy()
    return maps


def ablate(
    trace: Trace,
    word: str,
    replacement: str = "",
    *,
    picture: int = 0,
    model: Askable | None = None,
) -> Ablation:
    """See `Trace.ablate`."""
    picture = checks.index("picture", picture, trace.batch_size)
    trace.check_prompt(picture)
    prompt = replaced(trace.prompt_of(picture), word, replacement)
    model = model_of(trace, model)
    if not trace.complete:
        raise InputError("This run was stopped: there is no image to compare with.")
    if picture >= len(trace.images):
        raise InputError(
            f"This record has no image {picture} to compare with.", parameter="picture"
        )
    one = trace.settings.of_picture(picture)
    noise = trace.given_latents
    other = model.generate(
        **replace(one, prompt=prompt).as_dict(),
        image=trace.given_image,
        mask=trace.given_mask,
        depth=trace.given_depth,
        label_map=trace.given_label_map,
        neighbours=trace.given_neighbours or None,
        guide=trace.guide,
        latents=None if noise is None else noise[picture : picture + 1],
    )
    pixels = [np.asarray(each, np.float32) for each in (trace.images[picture], other.image)]
    change = np.abs(pixels[0] - pixels[1]).mean(-1) / 255
    heat = heat_map(trace, word, picture=picture) if trace.layers else None
    correlation = None
    if heat is not None and heat.std() > 0 and change.std() > 0:
        correlation = float(np.corrcoef(heat.ravel(), change.ravel())[0, 1])
    return Ablation(word, replacement, trace, other, change, heat, correlation, picture)


def replaced(prompt: PromptTokens, word: str, replacement: str) -> str:
    """The prompt with another text in place of all occurrences of a word that the network saw.

    Raises InputError.
    """
    if not isinstance(word, str) or not isinstance(replacement, str):
        raise InputError("word and replacement must be texts.", parameter="word")
    if not word.strip() or word in SPECIAL:
        raise InputError(
            f"{checks.shown(word)} is no word to take away.\nGive a word of the prompt.",
            parameter="word",
        )
    prompt.find(word)  # says so if the network never saw it
    text = prompt.prompt
    for start, end in reversed(prompt.spans_of(word)):
        text = text[:start] + replacement + text[end:]
    return " ".join(text.split())


def _asked(model: Askable, record: Record, prompt: Any) -> tuple[Given, Tokens]:
    """What the model is told by a prompt that is read as in the run, and its tokens."""
    if not isinstance(prompt, str):
        raise InputError("prompt must be a text.", parameter="prompt")
    given = Given(prompt, record.size, reading=record.settings.reading)
    read = model.tokenize([given])
    return given, read


def model_of(record: Record, model: Askable | None) -> Askable:
    """The model to ask, the given one or that of the run. InputError if its weights differ."""
    if model is None and record.model_ref is not None:
        model = record.model_ref()
    if model is None:
        raise InputError(
            f"The model of this run, {record.model!r}, is not loaded.\n"
            "Give it: model=sdwidgets.load(...).",
            parameter="model",
        )
    checks.typed("model", model, Askable, "the model of the run")
    check_weights(record, model)
    return model


def check_weights(record: Record, model: Fingerprinted) -> None:
    """Raise InputError unless the model has the weights of the one that ran."""
    if record.fingerprint and model.fingerprint != record.fingerprint:
        raise InputError(
            f"{model.name!r} has other weights than {record.model!r} had in this run.\n"
            "Give the model that made it.",
            parameter="model",
        )
