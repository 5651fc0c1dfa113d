"""Training the text encoder before the denoiser, as CLIP was before Stable Diffusion.

Contrastive (arXiv 2103.00020): captions and pictures of a batch find each other; beside every
scene stands its twin with the same things in another arrangement, so that order has to be read.
The encoder that is trained has one layer more than the one that is kept (Stable Diffusion 2 keeps
its encoder's second to last layer too): gathering the whole sentence is that last layer's work.
Two small terms keep the words themselves clear for cross-attention:

- own word: from a token's state the token can be told, so a word's state stays its own;
- quiet: the states of the end token and of the padding are the same under every caption, so a
  picture can be drawn from its words and from nothing else.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import TextConfig
from ..models.text import TextEncoder, build_text, load_tokenizer
from ..scenes import COLORS, OPPOSITE, RELATIONS, Glyphs, Placed, Scene, describe, render
from .data import scene_at
from .loop import Draw

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<|pad|>"


def build_tokenizer(folder: Path, captions: Iterable[str], merges: int = 509) -> TextConfig:
    """Writes a CLIP tokenizer (byte-level BPE, lower case, ``</w>`` at a word's end) into
    ``folder``: 512 byte tokens, at most ``merges`` merges learnt from ``captions``, and start,
    end and padding. Any text can be tokenised; the captions' words are one token each.

    Returns the default text config with the vocabulary's size and these three ids.
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
    """The tokenizer of the emoji scenes' captions."""
    shutil.rmtree(folder, ignore_errors=True)
    return build_tokenizer(folder, (scene_at(0, i).caption for i in range(scenes)))


class PictureEncoder(nn.Module):
    """Scenes [B, 3, 64, 64] to unit vectors [B, dim]: the other half of the contrast, and not
    kept. The last convolution's map is flattened, not averaged, so that places are seen."""

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
    """The text transformer with its extra last layer, the picture encoder and the temperature."""

    def __init__(self, config: TextConfig, dim: int = 128):
        super().__init__()
        self.text = build_text(replace(config, layers=config.layers + 1))
        self.text.train()
        self.picture = PictureEncoder(dim)
        self.project = nn.Linear(config.width, dim, bias=False)
        self.log_temperature = nn.Parameter(torch.tensor(2.65))  # 1/0.07, as CLIP begins

    @property
    def inner(self) -> Any:
        """transformers' text transformer: version 4 wraps it, and 5 does not."""
        return getattr(self.text, "text_model", self.text)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The kept states [B, T, width] and the states of the last layer [B, T, width]."""
        out = self.inner(input_ids=ids, output_hidden_states=True)
        return self.inner.final_layer_norm(out.hidden_states[-2]), out.last_hidden_state


def twin(rng: random.Random, scene: Scene) -> Scene:
    """The same things in another arrangement or, where nothing is arranged, on another
    background: the scene that only a careful reader tells from this one."""
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


@dataclass
class TextTask:
    """``model`` learns from a bank of ``scenes`` pairs of twins drawn once at 64 x 64; captions
    are worded anew in every batch."""

    model: Contrast
    tokenizer_folder: Path
    config: TextConfig
    glyphs: Glyphs
    seed: int = 0
    scenes: int = 4000
    tokens: int = 32  # enough for every caption; what stands behind cannot be seen before it

    def __post_init__(self) -> None:
        self.reader = TextEncoder(self.config, self.model, load_tokenizer(self.tokenizer_folder))
        self.bank: list[Scene] = []
        images = []
        for i in range(self.scenes):
            scene = scene_at(self.seed, i)
            for one in (scene, twin(random.Random(f"twin/{self.seed}/{i}"), scene)):
                self.bank.append(one)
                image = torch.from_numpy(render(one, self.glyphs).image).permute(2, 0, 1)
                images.append(F.avg_pool2d(image[None].float(), 2).byte())
        self.images = torch.cat(images)

    def loss(self, draw: Draw) -> dict[str, Tensor]:
        device = draw.device
        rng = random.Random(f"text/{self.seed}/{draw.step}")
        pairs = rng.sample(range(self.scenes), draw.size // 2)
        rows = [row for pair in pairs for row in (2 * pair, 2 * pair + 1)]
        captions = [describe(rng, self.bank[row]).caption for row in rows]
        ids = self.reader.tokenize(captions).ids[:, : self.tokens].to(device)
        image = self.images[rows].to(device).float() / 127.5 - 1

        states, last = self.model(ids)
        end = (ids == self.config.eos).int().argmax(dim=1)
        text = F.normalize(self.model.project(last[torch.arange(len(ids)), end]), dim=-1)
        picture = self.model.picture(image)
        temperature = self.model.log_temperature.clamp(max=4.6).exp()
        logits = temperature * text @ picture.T  # [B captions, B pictures]
        target = torch.arange(len(ids), device=device)
        contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

        is_word = (ids < self.config.bos) & (ids != self.config.pad)
        table = self.model.inner.embeddings.token_embedding.weight
        own = F.cross_entropy(
            F.normalize(states[is_word], dim=-1) @ F.normalize(table, dim=-1).T * 16, ids[is_word]
        )
        silent = states[~is_word & (ids != self.config.bos)]  # the end token and the padding
        quiet = (silent - silent.mean(0, keepdim=True)).square().mean()

        right = (logits.argmax(1) == target).float().mean()
        twins = logits.view(len(ids), -1, 2)[target, target // 2]  # each caption's pair of pictures
        told = (twins.argmax(1) == target % 2).float().mean()
        loss = contrast + 0.2 * own + 0.5 * quiet
        return {
            "loss": loss, "contrast": contrast, "own": own, "quiet": quiet,
            "found": right, "told_twins": told,
        }  # fmt: skip


def kept_weights(contrast: dict[str, Tensor], config: TextConfig) -> dict[str, Tensor]:
    """The weights of the encoder that is kept: the trained one without its last layer."""
    last = f"encoder.layers.{config.layers}."
    return {
        name.removeprefix("text."): value
        for name, value in contrast.items()
        if name.startswith("text.") and last not in name
    }
