"""The text encoder against transformers': equal ids, and states up to rounding. No diffusers."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from references import relative_error
from vocabulary import write_vocabulary

import sdwidgets
from sdwidgets import configs
from sdwidgets.configs import TextConfig
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.tokenizer import clip_tokenizer, load_tokenizer
from sdwidgets.models.wordpiece import bert_tokenizer

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("seeded")]
transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 300, "width": 32, "heads": 4, "hidden": 64, "bos": 298, "eos": 299}
CONFIGS = {
    "clip l": replace(configs.SD1.text[0], layers=3, pad=299, **SMALL),
    "clip h": replace(configs.SD2.text[0], layers=3, **SMALL),
    "clip l of sdxl": replace(configs.SDXL.text[0], layers=3, pad=299, **SMALL),
    "clip g of sdxl": replace(configs.SDXL.text[1], layers=3, projection_dim=16, **SMALL),
}


def theirs_of(config: TextConfig, ours: CLIPText, **changes: Any) -> Any:
    """Return transformers' model with our weights, by the names of published files."""
    kind = transformers.CLIPTextModelWithProjection
    if not config.projection_dim:
        kind = transformers.CLIPTextModel
    settings = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.length,
        "hidden_act": config.activation,
        "projection_dim": config.projection_dim or config.width,
        "bos_token_id": config.bos,
        "eos_token_id": config.eos,
        "pad_token_id": config.pad,
    }
    theirs = kind(transformers.CLIPTextConfig(**(settings | changes)))
    state = ours.state_dict()
    if not any(name.startswith("text_model.") for name in theirs.state_dict()):  # version 5
        state = {name.removeprefix("text_model."): value for name, value in state.items()}
    theirs.load_state_dict(state, strict=True)
    return theirs.eval()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("eos", [299, 2])  # 2: of old configs; transformers takes the largest id
@torch.no_grad()
def test_states_of_every_depth_and_pooled(name: str, eos: int) -> None:
    config = CONFIGS[name]
    ours = CLIPText(config)
    for parameter in ours.parameters():  # norms start as ones and biases as zeros
        parameter += 0.02 * torch.randn_like(parameter)
    theirs = theirs_of(config, ours, eos_token_id=eos)
    ids = torch.randint(0, 298, (3, 77))
    ids[:, 0] = config.bos
    for row, length in zip(ids, (5, 40, 76), strict=True):
        row[length], row[length + 1 :] = config.eos, config.pad
    expected = theirs(ids, output_hidden_states=True)
    for one, other in zip(ours.hidden_states(ids), expected.hidden_states, strict=True):
        assert relative_error(one, other) < 1e-5
    found = ours(ids)
    states = expected.last_hidden_state if config.norm else expected.hidden_states[-2]
    assert relative_error(found.states, states) < 1e-5
    pooled = expected.text_embeds if config.projection_dim else expected.pooler_output
    assert relative_error(found.pooled, pooled) < 1e-5


# ------------------------------------------------------------------------------------ tokenizers

PROMPTS = [
    "", "   ", "a cat", "The Dog's  \u00e9lan,\n7 cats \U0001f600", "e\u0301 E\u0323\u0301 \u0344",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0645\u0631\u062d\u0628\u0627",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family", "\U0001f1e9\U0001f1ea",
    "<|endoftext|>x<|startoftext|>", "it's we'll I'd they've 'S ''s '", "!!! a!b ! dog!",
    "\x1c\x1d \x85 \u2028\u3000x", "\u0130stanbul \u01c5 \u00df \ufb01", "x" * 500,
    "a" * 3000 + " cat", "\u00bdcat123 4,567.89 \u00b2", "\ufffd\ufeff\u200b\u00ad",
    "<toy> a <toy>dog <TOY>", "\U0001d4b3 \U00010348", "cat</w> dog", "\u0149 \u0390 \u1e9e",
    "a\u00a0b\tc", "<|pad|>a", "\u0915\u094d\u0937\u093f", "\u732b\u304c\u597d\u304d",
]  # fmt: skip
BLOCKS = [(32, 127), (0xA0, 0x600), (0x1E00, 0x2100), (0x300, 0x370), (0x1F300, 0x1F700), (9, 40)]


def drawn(seed: int) -> str:
    rng = random.Random(seed)
    return "".join(chr(rng.randrange(*rng.choice(BLOCKS))) for _ in range(rng.randrange(1, 30)))


PROMPTS += [drawn(seed) for seed in range(300)]

TOKEN = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
SD1 = {
    "bos_token": {"content": BEGIN, **TOKEN},
    "eos_token": {"content": END, **TOKEN},
    "pad_token": END,
    "unk_token": {"content": END, **TOKEN},
}
ADDED = {
    "0": {"content": "!", **TOKEN, "normalized": False, "special": True},
    "519": {"content": BEGIN, **TOKEN, "special": True},
    "520": {"content": END, **TOKEN, "special": True},
    "521": {"content": "<toy>", **TOKEN, "special": False},
}
CLASS = {"tokenizer_class": "CLIPTokenizer"}
FILES: dict[str, dict[str, Any]] = {
    "as published with Stable Diffusion 1": {
        "special_tokens_map.json": SD1,
        "tokenizer_config.json": {**CLASS, "pad_token": END},
    },
    "as published with Stable Diffusion 2": {"special_tokens_map.json": SD1 | {"pad_token": "!"}},
    "as published with Stable Diffusion 2, where the files disagree": {
        "special_tokens_map.json": SD1 | {"pad_token": "!"},
        "tokenizer_config.json": {**CLASS, "pad_token": END},
    },
    "as published with Stable Diffusion XL": {
        "special_tokens_map.json": SD1 | {"pad_token": "!"},
        "tokenizer_config.json": {**CLASS, "pad_token": "!", "added_tokens_decoder": ADDED},
    },
    "an added token": {"special_tokens_map.json": SD1, "added_tokens.json": {"<toy>": 521}},
    "two files alone": {},
}


def assert_same(folder: Path) -> None:
    ours = load_tokenizer(folder)
    theirs = transformers.CLIPTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    assert (ours.bos, ours.eos, ours.pad) == (
        theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id,
    )  # fmt: skip
    assert len(ours) == len(theirs)
    for prompt in PROMPTS:
        found = ours.encode(prompt)
        expected = theirs.backend_tokenizer.encode(prompt, add_special_tokens=False)
        assert found.ids == expected.ids, ascii(prompt)
        assert found.offsets == expected.offsets, ascii(prompt)


@pytest.mark.parametrize("name", FILES)
def test_ids_and_places(name: str, tmp_path: Path) -> None:
    write_vocabulary(tmp_path)
    for file, content in FILES[name].items():
        (tmp_path / file).write_text(json.dumps(content))
    assert_same(tmp_path)


@pytest.mark.parametrize("alone", [False, True])
def test_the_files_that_transformers_saves(tmp_path: Path, alone: bool) -> None:
    write_vocabulary(tmp_path)
    theirs = transformers.CLIPTokenizerFast.from_pretrained(str(tmp_path))
    theirs.add_tokens(["<toy>"])
    theirs.save_pretrained(str(tmp_path / "saved"))
    if alone:  # tokenizer.json
        for path in (tmp_path / "saved").iterdir():
            if path.name in ("vocab.json", "merges.txt"):
                path.unlink()
    assert_same(tmp_path / "saved")


def test_the_bundled_models_tokenizer() -> None:
    assert_same(Path(sdwidgets.__file__).parent / "weights" / "emoji" / "tokenizer")


def test_clips_own_vocabulary(tmp_path: Path) -> None:
    ours = clip_tokenizer()
    (tmp_path / "vocab.json").write_text(json.dumps(ours.vocab))
    merges = "\n".join(" ".join(pair) for pair in ours.merges)
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    theirs = transformers.CLIPTokenizerFast.from_pretrained(str(tmp_path), local_files_only=True)
    assert (ours.bos, ours.eos) == (theirs.bos_token_id, theirs.eos_token_id)
    for prompt in PROMPTS:
        expected = theirs.backend_tokenizer.encode(prompt, add_special_tokens=False)
        assert ours.encode(prompt).ids == expected.ids, ascii(prompt)


PROMPTS_OF_BERT = (
    "",
    "  A virus monster is playing guitar,\toil on canvas ",
    "Crème brûlée, 東京 ｆｕｌｌ ‘quoted’ — it's 3.14 (really)",
    "x" * 101 + " 🐱 a\u200bb\x00c",
    "[CLS] masked [MASK]",
    " ".join(["antidisestablishmentarianism"] * 40),
)


def test_berts_tokens(tmp_path: Path) -> None:
    ours = bert_tokenizer()
    tokens = sorted(ours.vocab, key=ours.vocab.__getitem__)
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    rng = random.Random(0)
    characters = "ab ,.é'#[]東🐱\t"
    some = ["".join(rng.choices(characters, k=20)) for _ in range(50)]
    for prompt in (*PROMPTS_OF_BERT, *some):
        expected = theirs(prompt, add_special_tokens=False)["input_ids"]
        assert ours.encode(prompt).ids == expected, prompt
