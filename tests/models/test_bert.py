"""Latent diffusion's own text encoder: BERT's tokens, read by its transformer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sdwidgets.configs import TINY, BertConfig, BoxesConfig
from sdwidgets.errors import CheckpointError, InputError
from sdwidgets.models.conditioning import Given, condition, read
from sdwidgets.models.text import BertEncoder
from sdwidgets.models.token_encoder import TokenEncoder
from sdwidgets.models.wordpiece import SPECIAL, WordPiece, bert_tokenizer
from sdwidgets.prompts import Reading
from sdwidgets.settings import Settings

WORDS = (*SPECIAL, "a", "cat", "##s", "dog", ",", "red")
VOCABULARY = {word: number for number, word in enumerate(WORDS)}
SMALL = BertConfig(
    vocab_size=len(WORDS), width=16, layers=2, heads=2, head_width=8, length=8, bos=2, eos=3
)


@pytest.fixture
def text(seeded: None) -> BertEncoder:
    return BertEncoder(SMALL, TokenEncoder(SMALL).eval(), WordPiece(VOCABULARY))


def given(prompt: str | None, reading: Reading | None = None) -> Given:
    return Given(prompt, (8, 8)) if reading is None else Given(prompt, (8, 8), reading=reading)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (BertConfig(), 542_895_360),
        (BertConfig(width=640), 166_590_080),
        (BoxesConfig(("cat",)), 54_656_000),
    ],
    ids=["text 1.45 B", "text 256", "layout"],
)
def test_the_published_sizes(config: BertConfig | BoxesConfig, parameters: int) -> None:
    with torch.device("meta"):
        encoder = TokenEncoder(config)
    assert sum(weight.numel() for weight in encoder.parameters()) == parameters


def test_words_are_pieces_between_start_and_end(text: BertEncoder) -> None:
    prompt = "A Cáts,  [SEP] fox"
    tokens = read([text], [given(prompt, Reading("none"))])
    assert tokens.ids.tolist() == [[2, 5, 6, 7, 9, 3, 1, 3]]
    assert tokens.pieces == (("a", "cat", "s", ",", "[SEP]", "[UNK]"),)
    assert [prompt[a:b] for a, b in tokens.words[0]] == ["A", "Cát", "s", ",", "[SEP]", "fox"]
    assert tokens.controls == ("[SEP]",)
    assert tokens.unknown == ("fox",)
    assert tokens.padding == "[PAD]"


def test_an_empty_prompt_is_no_prompt(text: BertEncoder) -> None:
    context = condition([text], [given(None), given(""), given("a cat")]).context
    assert context is not None
    assert context.shape == (3, 8, 16)
    assert torch.equal(context[0], context[1])
    assert not torch.allclose(context[0], context[2], atol=1e-4)


def test_weights_and_chunks_are_those_of_all_prompts(text: BertEncoder) -> None:
    tokens = read([text], [given("(a cat:1.5), a dog, a red cat")])
    assert tokens.chunks == (2,)
    assert tokens.weights == ((1.5, 1.5, 1, 1, 1, 1, 1, 1, 1),)
    assert tokens.ids.shape == (1, 16)


def test_clip_skip_leaves_out_its_last_layers(text: BertEncoder) -> None:
    context = condition([text], [given("a cat", replace(Reading(), clip_skip=1))]).context
    shallow = TokenEncoder(replace(SMALL, layers=1)).eval()
    shallow.load_state_dict(text.model.state_dict(), strict=False)
    ids = text.tokens([given("a cat")]).ids
    assert context is not None
    assert torch.allclose(context, shallow(ids).states, rtol=1e-4, atol=1e-4)
    config = replace(TINY, embedders=(SMALL,))
    assert Settings(clip_skip=1).checked(config).clip_skip == 1
    with pytest.raises(InputError, match="clip_skip"):
        Settings(clip_skip=2).checked(config)


def test_a_learnt_word_is_its_vectors(text: BertEncoder) -> None:
    cat = text.model.token_emb.weight[VOCABULARY["cat"]].detach()
    learnt = text.learning({"<mine>": cat[None]})
    tokens = learnt.tokens([given("a <mine>")])
    assert tokens.ids[0, :4].tolist() == [2, 5, len(WORDS), 3]
    context = condition([learnt], [given("a <mine>")]).context
    wanted = condition([text], [given("a cat")]).context
    assert context is not None and wanted is not None
    assert torch.allclose(context, wanted, rtol=1e-4, atol=1e-4)
    assert text.tokens([given("a <mine>")]).ids[0, 2] == VOCABULARY["[UNK]"]  # as it was


def test_berts_own_vocabulary() -> None:
    tokenizer = bert_tokenizer()
    assert len(tokenizer) == BertConfig().vocab_size
    numbers = BertConfig.bos, BertConfig.eos, BertConfig.pad
    assert [tokenizer.content(number) for number in numbers] == ["[CLS]", "[SEP]", "[PAD]"]
    assert tokenizer.encode("a cat").ids == [1037, 4937]


def test_a_vocabulary_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no \[UNK\]"):
        WordPiece({"[PAD]": 0, "a": 1})
    config = replace(SMALL, vocab_size=4)
    with pytest.raises(CheckpointError, match="two different models"):
        BertEncoder(config, TokenEncoder(config), WordPiece(VOCABULARY))
