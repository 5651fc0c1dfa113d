"""Training the text encoder before the denoiser, as CLIP was before Stable Diffusion.

The training is contrastive (arXiv 2103.00020): captions and images of a batch find each other.
Images may come in groups whose captions differ only in small words or word order (`SceneTwins`).
The images of a group are in the same batch, so that the order has to be read. The trained encoder
has one layer more than the encoder that is kept, as in Stable Diffusion 2: that last layer gathers
the whole sentence. Two small terms keep the states of words clear for cross-attention:

- own word: a token can be told from its state, so that a word's state stays its own;
- quiet: the states of the end token and of the padding are the same for every caption, so that
  images are drawn from the words alone.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoints.target import device_of
from ..checks import shortened, whole
from ..configs import TextConfig
from ..errors import InputError
from ..models.clip import CLIPText, TextStates
from ..models.text import TextEncoder
from ..models.tokenizer import load_tokenizer
from ..pixels import from_levels, to_levels, to_tensor
from ..scenes import COLORS, OPPOSITE, RELATIONS, Glyphs, Placed, Scene, describe, render
from .checkpoint import averaged
from .data import check_pictures, scene_at
from .identity import Fact, of_captions, of_images, of_tokenizer
from .loop import LARGEST_SEED, Average, Draw
from .order import sample_rows
from .surroundings import drawn_from, settled

if TYPE_CHECKING:
    from .data import Pictures

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<|pad|>"
SIDE = 64  # pixels of the images that are compared with captions
SEEN = 32  # tokens of a caption and its padding, at least
READ = 2000  # captions from which a vocabulary is learnt


def build_tokenizer(folder: Path, captions: Iterable[str], merges: int = 509) -> TextConfig:
    """Write a CLIP tokenizer to ``folder``; return the default text config with its size and ids.

    The tokenizer is a byte-level BPE in lower case with ``</w>`` at a word's end. It has 512 byte
    tokens, at most ``merges`` merges learnt from ``captions``, and the tokens for start, end and
    padding. Any text can be tokenised; the words of the captions are a single token each.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    words = Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
        min_frequency=2,
    )
    bpe.train_from_iterator((caption.lower() for caption in captions), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    learnt = json.loads(bpe.to_str())["model"]["merges"]
    pairs = [p if isinstance(p, list) else p.split(" ") for p in learnt][:merges]
    tokens = [*alphabet, *(c + "</w>" for c in alphabet)]
    tokens += dict.fromkeys("".join(pair) for pair in pairs)
    vocab = {token: i for i, token in enumerate([*dict.fromkeys(tokens), START, END, PAD])}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in pairs)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    special = {"bos_token": START, "eos_token": END, "pad_token": PAD, "unk_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | special, indent=2) + "\n")
    n = len(vocab)
    return TextConfig(vocab_size=n, bos=n - 3, eos=n - 2, pad=n - 1)


def caption_vocabulary(folder: Path, scenes: int = 20_000) -> TextConfig:
    """Write the tokenizer of the emoji scenes' captions; return its text config."""
    shutil.rmtree(folder, ignore_errors=True)
    return build_tokenizer(folder, (scene_at(0, i).caption for i in range(scenes)))


@settled()
def new_text(
    pictures: Pictures, *, width: int = 64, layers: int = 2, heads: int = 4, seed: int = 0
) -> TextEncoder:
    """Return a small text transformer with random weights, and a tokenizer of the captions.

    Prompts may be half as long again as the longest caption, up to CLIP's 75 tokens. The same
    images and ``seed`` give the same encoder. Raises InputError if no image has a caption.
    """
    numbers = range(min(len(pictures), READ))
    captions = [pictures.caption(number, random.Random(number)) for number in numbers]
    if not any(caption.strip() for caption in captions):
        raise InputError(
            "These images have no captions.\n"
            "Add some, or train without captions: text=None, with or without classes=.",
            parameter="text",
        )
    with tempfile.TemporaryDirectory() as folder:
        found = build_tokenizer(Path(folder), captions)
        tokenizer = load_tokenizer(folder)
    longest = max(len(tokenizer.encode(caption)) for caption in set(captions))
    config = replace(
        found, width=width, layers=layers, heads=heads, hidden=4 * width,
        length=min(max(longest * 3 // 2, 6) + 2, 77),
    )  # fmt: skip
    with drawn_from(seed):
        return TextEncoder(config, CLIPText(config), tokenizer)


def warn_of_cut(reader: TextEncoder, pictures: Pictures, count: int) -> None:
    """Warn, with counts, if captions of the first ``count`` images are too long to be read whole.

    Of many images, only the first 2,000 are looked at."""
    seen = min(count, READ)
    captions = [pictures.caption(number, random.Random(number)) for number in range(seen)]
    ends = [cut for caption in captions for cut in reader.tokenize([caption]).cut if cut.strip()]
    if ends:
        warnings.warn(
            f"{len(ends)} of {seen} captions are longer than the {reader.capacity} tokens that the"
            f" text encoder reads; their ends are ignored, such as {shortened(ends[0], 40)!r}.",
            stacklevel=3,
        )


class PictureEncoder(nn.Module):
    """Images [B, 3, 64, 64] -> unit vectors [B, dim]: the other half of the contrast, not kept.

    The last convolution's map is flattened, not averaged, so that positions are seen.
    """

    def __init__(self, dim: int = 128):
        super().__init__()

        def conv(c_in: int, c_out: int, stride: int) -> nn.Sequential:
            layer = nn.Conv2d(c_in, c_out, 3, stride, padding=1)
            return nn.Sequential(layer, nn.GroupNorm(2, c_out), nn.SiLU())

        self.body = nn.Sequential(
            conv(3, 24, 2), conv(24, 48, 2), conv(48, 48, 1), conv(48, 96, 2), conv(96, 96, 1),
            conv(96, 64, 1), nn.Flatten(), nn.Linear(64 * 64, 256), nn.SiLU(), nn.Linear(256, dim),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.body(image), dim=-1)


class Contrast(nn.Module):
    """The text transformer with its extra last layer, the image encoder and the temperature.

    The states are those before the extra layer; the pooled state is after it.
    """

    def __init__(self, config: TextConfig, dim: int = 128):
        super().__init__()
        self.text = CLIPText(replace(config, layers=config.layers + 1, skip=1))
        self.picture = PictureEncoder(dim)
        self.project = nn.Linear(config.width, dim, bias=False)
        self.log_temperature = nn.Parameter(torch.tensor(2.65))  # 1/0.07, as in CLIP

    def forward(self, ids: Tensor) -> TextStates:
        """Return the states that are kept, and the pooled states that are compared with images."""
        states: TextStates = self.text(ids)
        return states


def twin(rng: random.Random, scene: Scene) -> Scene:
    """Return the same objects in another arrangement or, without relations, on another background:
    a scene that only a careful reader tells from the first."""
    if not scene.relations:
        others = [color for color in COLORS if color != scene.background]
        return describe(rng, replace(scene, background=rng.choice(others)))
    if rng.random() < 0.5:  # the two ends change places
        relation = OPPOSITE[scene.relations[0][1]]
        objects = tuple(
            replace(placed, x=other.x, y=other.y, size=other.size)
            for placed, other in zip(scene.objects, scene.objects[::-1], strict=True)
        )
    else:  # rows become columns and columns rows
        was = scene.relations[0][1]
        relation = RELATIONS[(RELATIONS.index(was) + 2) % 4]
        objects = tuple(Placed(o.noun, o.y, o.x, o.size) for o in scene.objects)
    relations = tuple((a, relation, b) for a, _, b in scene.relations)
    return describe(rng, replace(scene, objects=objects, relations=relations))


@dataclass(frozen=True)
class SceneTwins:
    """Images in pairs: number 2 i is scene i of a seed, and 2 i + 1 is its `twin`."""

    seed: int
    glyphs: Glyphs
    scenes: int = 4000

    def __len__(self) -> int:
        return 2 * self.scenes

    def scene(self, number: int) -> Scene:
        index = number % len(self) // 2
        scene = scene_at(self.seed, index)
        return twin(random.Random(f"twin/{self.seed}/{index}"), scene) if number % 2 else scene

    def picture(self, number: int) -> np.ndarray:
        return render(self.scene(number), self.glyphs).image

    def caption(self, number: int, rng: random.Random) -> str:
        return describe(rng, self.scene(number)).caption


@dataclass
class TextTask:
    """``model`` learns which caption belongs to which of the first ``count`` ``pictures``.

    ``reader`` has the tokenizer. Each ``group`` of consecutive images is always in the same batch.
    Captions are drawn again for every batch. If two captions of a batch are equal, both images are
    right.
    """

    model: Contrast
    reader: TextEncoder
    pictures: Pictures | SceneTwins
    count: int
    group: int = 1
    seed: int = 0
    average: Average | None = field(default=None, init=False, repr=False)

    @cached_property
    def images(self) -> Tensor:
        """All images, scaled down: uint8 [count, 3, 64, 64]."""
        return torch.cat([_small(self.pictures.picture(i)) for i in range(self.count)])

    def identity(self) -> dict[str, Fact]:
        """Return facts that identify the training, for its checkpoint."""
        return {
            "tokenizer": of_tokenizer(self.reader),
            **of_images(self.pictures, self.count),
            **of_captions(self.pictures, self.count),
            "seed of the task": self.seed,
        }

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        device, config = draw.device, self.reader.config
        rows = sample_rows(draw, self.count, self.seed, self.group)
        captions = [
            self.pictures.caption(row, random.Random(f"text/{self.seed}/{draw.step}/{row}"))
            for row in rows
        ]
        ids = self.reader.tokenize(captions).ids
        longest = int((ids == config.eos).int().argmax(1).max()) + 1
        ids = ids[:, : max(longest, SEEN)].to(device)  # no token sees later ones
        image = from_levels(self.images[rows].to(device))

        read = self.model(ids)
        states = read.states
        text = F.normalize(self.model.project(read.pooled), dim=-1)
        picture = self.model.picture(image)
        temperature = self.model.log_temperature.clamp(max=4.6).exp()
        logits = temperature * text @ picture.T  # [B captions, B images]
        same = (ids[:, None] == ids[None]).all(2).float()
        target = same / same.sum(1, keepdim=True)
        contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

        is_word = (ids < config.bos) & (ids != config.pad)
        table = self.model.text.text_model.embeddings.token_embedding.weight
        own = F.cross_entropy(
            F.normalize(states[is_word], dim=-1) @ F.normalize(table, dim=-1).T * 16, ids[is_word]
        )
        silent = states[~is_word & (ids != config.bos)]  # the end token and the padding
        quiet = (silent - silent.mean(0, keepdim=True)).square().mean()

        numbers = torch.arange(len(ids), device=device)
        right = {"found": same[numbers, logits.argmax(1)].mean()}
        if self.group > 1:  # among the images of each caption's group
            groups = logits.view(len(ids), -1, self.group)[numbers, numbers // self.group]
            right["told_twins"] = (groups.argmax(1) == numbers % self.group).float().mean()
        loss = contrast + 0.2 * own + 0.5 * quiet
        return {"loss": loss, "contrast": contrast, "own": own, "quiet": quiet, **right}

    @settled()
    def result(self, checkpoint: str | Path | None = None) -> TextEncoder:
        """Return the frozen text encoder, with the averaged weights as they are now or in a
        checkpoint."""
        if checkpoint is not None:
            weights = averaged(Path(checkpoint))
        else:
            weights = self.average.weights if self.average else self.model.state_dict()
        config = self.reader.config
        with drawn_from(0):  # all weights are replaced
            model = CLIPText(config)
        model.load_state_dict(kept_weights(weights, config), strict=True)
        model = model.requires_grad_(False).to(next(self.model.parameters()).device)
        return TextEncoder(config, model, self.reader.tokenizer)


def _small(picture: np.ndarray) -> Tensor:
    """Return an image [H, W, 3] scaled down to uint8 [1, 3, 64, 64]."""
    image = F.interpolate(to_tensor(picture), (SIDE, SIDE), mode="area")
    return to_levels(image)


@settled()
def text(
    pictures: Pictures,
    *,
    count: int | None = None,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    seed: int = 0,
    device: str = "auto",
) -> TextTask:
    """Return the task of training a small new text encoder on images and their captions.

    ``count`` is how many of the images are used; they are kept in memory, scaled down. After the
    training, pass ``task.result()`` to `diffusion` as its ``encoder``.
    """
    whole("seed", seed, 0, LARGEST_SEED)
    check_pictures(pictures, "picture", "caption")
    reader = new_text(pictures, width=width, layers=layers, heads=heads, seed=seed)
    with drawn_from(seed):
        model = Contrast(reader.config)
    count = min(len(pictures), count or 20_000)
    warn_of_cut(reader, pictures, count)
    return TextTask(model.to(device_of(device)), reader, pictures, count, seed=seed)


def kept_weights(contrast: dict[str, Tensor], config: TextConfig) -> dict[str, Tensor]:
    """Return the weights of the encoder that is kept: those trained, without the last layer."""
    last = f"text_model.encoder.layers.{config.layers}."
    return {
        name.removeprefix("text."): value
        for name, value in contrast.items()
        if name.startswith("text.") and last not in name
    }
