from __future__ import annotations

from typing import Any

import pytest
import torch
from vocabulary import write_vocabulary

from sdwidgets import configs
from sdwidgets.configs import TextConfig
from sdwidgets.errors import CheckpointError, InputError
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.text import TextEncoder, _readable
from sdwidgets.models.tokenizer import Tokenizer, load_tokenizer

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder = tmp_path_factory.mktemp("tokenizer")
    n = write_vocabulary(folder)
    config = TextConfig(n, 24, 2, 2, 48, bos=n - 2, eos=n - 1, pad=0)
    return TextEncoder(config, CLIPText(config), load_tokenizer(folder))


def test_ids_are_start_pieces_end_padding(text: TextEncoder) -> None:
    config = text.config
    ids = text.tokenize(["a cat"]).ids[0].tolist()
    cat = text.tokenizer.vocab["cat</w>"]
    assert len(ids) == config.length
    assert ids[0] == config.bos
    assert ids[2:4] == [cat, config.eos]
    assert set(ids[4:]) == {config.pad}


def test_pieces_rejoin_to_the_prompt_without_its_spaces(text: TextEncoder) -> None:
    prompt = "a Cat's élan 👨‍👩‍👧 שלום"
    assert "".join(text.tokenize([prompt]).pieces[0]) == prompt.lower().replace(" ", "")


def test_the_last_byte_of_a_character_carries_it(text: TextEncoder) -> None:
    assert text.tokenize(["😀 cat"]).pieces == (("", "", "", "😀", "cat"),)


def test_spans_point_into_the_prompt(text: TextEncoder) -> None:
    prompt = "A  Cat\tand 😀 the DOG"
    tokens = text.tokenize([prompt])
    spelled = [prompt[start:end] for start, end in tokens.words[0]]
    assert spelled[:2] == ["A", "Cat"]
    assert spelled[-2:] == ["the", "DOG"]
    assert spelled[-6:-2] == ["😀"] * 4
    assert len(spelled) == len(tokens.pieces[0])


def test_seventy_five_words_fit_and_the_next_is_reported(text: TextEncoder) -> None:
    tokens = text.tokenize(["cat " * 75, "cat " * 75 + "The  Dog "])
    assert tokens.cut == ("", "The  Dog")
    assert torch.equal(tokens.ids[0], tokens.ids[1])


def test_a_word_cut_in_the_middle_is_reported_from_there(text: TextEncoder) -> None:
    assert text.tokenize(["cat " * 74 + "dogs"]).cut == ("gs",)


def test_a_character_cut_between_its_bytes_is_reported_whole(text: TextEncoder) -> None:
    assert text.tokenize(["cat " * 73 + "😀"]).cut == ("😀",)


def test_a_separator_that_is_a_token_is_not_cut_in_silence(text: TextEncoder) -> None:
    assert text.tokenize(["cat " * 75 + "\x1c"]).cut == ("\x1c",)


def test_the_cut_words_of_a_huge_prompt_are_all_reported(text: TextEncoder) -> None:
    tokens = text.tokenize(["cat " * 200_000])
    assert len(tokens.cut[0].split()) == 200_000 - 75
    assert len(tokens.pieces[0]) == 75


def test_words_after_a_desert_of_spaces_are_found(text: TextEncoder) -> None:
    tokens = text.tokenize([" " * 50_000 + "cat"])
    assert tokens.pieces == (("cat",),)
    assert tokens.words == (((50_000, 50_003),),)


def test_a_long_prompt_reads_as_its_beginning(text: TextEncoder) -> None:
    prompt = "the doghouse, élan 😀 & catastrophes " * 500
    whole = text.tokenizer.encode(prompt).ids[:75]
    assert text.tokenize([prompt]).ids[0, 1:76].tolist() == whole


class Watched(Tokenizer):
    """A tokenizer that counts the characters that it gets."""

    read = 0

    def encode(self, text: str) -> Any:
        self.read += len(text)
        return super().encode(text)


@pytest.fixture
def watched(text: TextEncoder) -> Watched:
    return Watched(text.tokenizer.vocab, text.tokenizer.merges)


LONG = ["x", "catdog", "😀", "e\u0301", "猫", "a\n", "1", "\x1c!", "the\u3000", "e\u0323\u0301"]


@pytest.mark.parametrize("part", LONG, ids=ascii)
def test_of_a_long_prompt_only_the_beginning_is_tokenised(
    text: TextEncoder, watched: Watched, part: str
) -> None:
    prompt = part * (100_000 // len(part))
    tokens = TextEncoder(text.config, text.model, watched).tokenize([prompt])
    assert watched.read < 3000
    whole = text.tokenizer.encode(prompt).ids[:75]
    assert tokens.ids[0, 1:76].tolist() == whole
    assert prompt.strip().endswith(tokens.cut[0]) and len(tokens.cut[0]) > 99_000


def test_a_prompt_said_many_times_is_tokenised_once(text: TextEncoder, watched: Watched) -> None:
    tokens = TextEncoder(text.config, text.model, watched).tokenize(["a cat"] * 64)
    assert watched.read == 5
    assert tokens.pieces == (("a", "cat"),) * 64


def test_an_added_token_reads_as_itself() -> None:
    assert _readable(["ca", "<猫>", "t</w>", "<|x|>"]) == ("ca", "<猫>", "t", "<|x|>")


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t"])
def test_a_prompt_of_nothing_is_start_and_end(text: TextEncoder, prompt: str) -> None:
    tokens = text.tokenize([prompt])
    assert tokens.pieces == ((),)
    assert tokens.cut == ("",)
    assert tokens.ids[0, :2].tolist() == [text.config.bos, text.config.eos]


def test_lone_surrogates_are_replaced(text: TextEncoder) -> None:
    tokens = text.tokenize(["\ud800 cat" + " cat" * 75 + "\udfff"])
    assert tokens.pieces[0][:4] == ("", "", "\ufffd", "cat")
    assert tokens.cut == ("cat cat cat cat\ufffd",)


@pytest.mark.parametrize("prompts", ["a cat", [None], [b"a cat"], [5]])
def test_prompts_that_are_no_strings_are_refused(text: TextEncoder, prompts: object) -> None:
    with pytest.raises(InputError, match="list of strings"):
        text.tokenize(prompts)  # type: ignore[arg-type]


def test_text_states_are_float32_whatever_the_weights(text: TextEncoder) -> None:
    half = TextEncoder(text.config, CLIPText(text.config).bfloat16(), text.tokenizer)
    states = half.encode(["a cat", ""])
    assert states.dtype == torch.float32
    assert states.shape == (2, 77, 24)
    assert not states.requires_grad


def test_a_word_does_not_see_the_words_after_it(text: TextEncoder) -> None:
    one, other = text.encode(["the cat", "the dog"])
    torch.testing.assert_close(one[:2], other[:2])
    assert not torch.allclose(one[2], other[2])


def test_a_tokenizer_of_another_model_is_refused(text: TextEncoder) -> None:
    with pytest.raises(CheckpointError, match="two different models"):
        TextEncoder(configs.TINY.text[0], text.model, text.tokenizer)
