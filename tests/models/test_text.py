from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from vocabulary import write_vocabulary

from sdwidgets import configs
from sdwidgets.configs import TextConfig
from sdwidgets.errors import CheckpointError, InputError
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.conditioning import Given
from sdwidgets.models.text import TextEncoder, _weighted
from sdwidgets.models.tokenizer import Tokenizer, load_tokenizer
from sdwidgets.prompts import Reading

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder = tmp_path_factory.mktemp("tokenizer")
    n = write_vocabulary(folder)
    config = TextConfig(n, 24, 2, 2, 48, bos=n - 2, eos=n - 1, pad=0)
    model = CLIPText(config)
    torch.nn.init.normal_(model.text_model.final_layer_norm.bias)  # as after training
    return TextEncoder(config, model, load_tokenizer(folder))


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


def test_an_added_token_reads_as_itself(text: TextEncoder) -> None:
    tokens = ["ca", "<猫>", "t</w>", "<|x|>"]
    assert text.tokenizer.readable(tokens) == ("ca", "<猫>", "t", "<|x|>")


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


# -- weights, chunks, skipped layers -----------------------------------------------------------

FULL = Reading()


def given(prompt: str, **reading: Any) -> Given:
    return Given(prompt, (64, 64), reading=Reading(**reading))


def told(text: TextEncoder, *prompts: str, **reading: Any) -> torch.Tensor:
    with torch.no_grad():
        context = text.embed([given(prompt, **reading) for prompt in prompts]).context
    assert context is not None
    return context


def test_pieces_are_those_of_the_text_without_brackets(text: TextEncoder) -> None:
    prompt = "the (cat:1.3) and [dogs], \\(owl\\)"
    plain = text.tokenize(["the cat and dogs, (owl)"])
    tokens = text.tokenize([prompt], FULL)
    assert torch.equal(tokens.ids, plain.ids)
    assert tokens.pieces == plain.pieces
    spelled = ["".join(prompt[start:end]) for start, end in tokens.words[0]]
    assert spelled[1] == "cat" and prompt.index("cat") == tokens.words[0][1][0]
    assert dict(zip(tokens.pieces[0], tokens.weights[0], strict=True))["cat"] == 1.3


def test_without_weights_brackets_are_text(text: TextEncoder) -> None:
    prompt = "a (cat:1.3) BREAK [dog]"
    whole = text.tokenizer.encode(prompt).ids
    tokens = text.tokenize([prompt], Reading(weights="none"))
    assert tokens.ids[0, 1 : len(whole) + 1].tolist() == whole
    assert set(tokens.weights[0]) == {1.0}


def test_a_long_prompt_is_read_in_chunks(text: TextEncoder) -> None:
    tokens = text.tokenize(["cat " * 100], FULL)
    config, cat = text.config, text.tokenizer.vocab["cat</w>"]
    assert tokens.ids.shape == (1, 154) and tokens.chunks == (2,)
    rows = tokens.ids.view(2, 77).tolist()
    assert rows[0] == [config.bos, *[cat] * 75, config.eos]
    assert rows[1] == [config.bos, *[cat] * 25, config.eos, *[config.pad] * 50]
    assert tokens.places[0] == (0, *range(1, 76), *range(78, 104))
    assert len(tokens.pieces[0]) == 100 and tokens.cut == ("",)


@pytest.mark.parametrize(
    ("prompt", "sizes"),
    [
        ("cat " * 75, [75]),
        ("cat " * 76, [75, 1]),
        ("cat " * 60 + ", " + "dog " * 20, [61, 20]),  # the comma stays in the first
        ("cat " * 54 + ", " + "dog " * 30, [75, 10]),  # 20 tokens after it: too far
        ("cat " * 55 + ", " + "dog " * 30, [56, 30]),
        ("cat " * 75 + ", dog", [75, 2]),  # a comma that does not fit begins the next
        ("cat " * 74 + ", dog", [75, 1]),
        ("cat BREAK dog", [1, 1]),
        ("BREAK dog", [0, 1]),
        ("cat BREAK", [1]),
        ("cat " * 80 + "BREAK dog", [75, 5, 1]),
        ("cat " * 60 + ", " + "dog " * 10 + "BREAK dog", [71, 1]),
    ],
)
def test_where_chunks_end(text: TextEncoder, prompt: str, sizes: list[int]) -> None:
    tokens = text.tokenize([prompt], FULL)
    places = tokens.places[0][1:-1]
    assert [sum(at // 77 == chunk for at in places) for chunk in range(len(sizes))] == sizes
    assert tokens.ids.shape == (1, 77 * len(sizes))
    assert tokens.places[0][-1] == 77 * (len(sizes) - 1) + sizes[-1] + 1


def test_beyond_the_most_chunks_a_prompt_is_cut(text: TextEncoder) -> None:
    tokens = text.tokenize(["cat " * 740 + ", " + "dog " * 30], FULL)
    assert tokens.chunks == (10,)
    assert tokens.cut == (("dog " * 21).strip(),)  # the last chunk is filled to its end
    assert text.tokenize(["BREAK " * 50 + "dog"], FULL).cut == ("dog",)


def test_only_the_beginning_of_a_long_prompt_in_chunks_is_tokenised(
    text: TextEncoder, watched: Watched
) -> None:
    reader = TextEncoder(text.config, text.model, watched)
    tokens = reader.tokenize(["cat (dog) " * 10_000], FULL)
    assert len(tokens.pieces[0]) == 750 and len(tokens.cut[0]) > 90_000
    assert watched.read < 20_000


def test_a_chunk_is_read_by_itself(text: TextEncoder) -> None:
    both = told(text, "cat BREAK the dog")
    apart = torch.cat([told(text, "cat"), told(text, "the dog")], dim=1)
    torch.testing.assert_close(both, apart, rtol=1e-4, atol=1e-4)


def test_shorter_contexts_are_repeated(text: TextEncoder) -> None:
    one, two, three = "owl", "cat BREAK dog", "a BREAK b BREAK the"
    together = told(text, one, two, three)
    assert together.shape[1] == 6 * 77
    for row, prompt in zip(together, (one, two, three), strict=True):
        alone = told(text, prompt)[0]
        torch.testing.assert_close(row, alone.repeat(6 * 77 // len(alone), 1))
    tokens = text.tokenize([one, two, three], FULL)
    assert tokens.periods == (77, 154, 231) and not tokens.padded
    assert torch.equal(tokens.ids[0], text.tokenize([one]).ids[0].repeat(6))


def test_contexts_that_would_be_too_long_are_filled_up(text: TextEncoder) -> None:
    prompts = ["cat", "cat " * 75 * 7, "cat " * 75 * 8, "cat " * 75 * 9]
    tokens = text.tokenize(prompts, FULL)
    assert tokens.padded and tokens.ids.shape[1] == 9 * 77
    assert tokens.periods == (77, 693, 693, 693)
    together, empty = told(text, *prompts), text.encode([""])[0]
    torch.testing.assert_close(together[1, 7 * 77 :], empty.repeat(2, 1))
    torch.testing.assert_close(together[0], told(text, "cat")[0].repeat(9, 1))


@pytest.mark.parametrize("weights", ["mean", "plain"])
def test_weights_multiply_the_states(text: TextEncoder, weights: str) -> None:
    """And the mean of each chunk is restored, or is not."""
    plain = told(text, "the cat BREAK dog")[0]
    found = told(text, "the (cat:1.5) BREAK [dog]", "owl", weights=weights)[0]
    for chunk, (at, weight) in enumerate([(2, 1.5), (1, 1 / 1.1)]):
        rows = slice(77 * chunk, 77 * chunk + 77)
        expected = plain[rows].clone()
        expected[at] *= weight
        if weights == "mean":
            expected *= plain[rows].mean() / expected.mean()
        torch.testing.assert_close(found[rows], expected)


def test_weights_of_one_image_leave_the_others_alone(text: TextEncoder) -> None:
    with torch.no_grad():
        mixed = text.embed([given("the (cat:1.5)"), given("owl"), given("(dog)", weights="none")])
    assert mixed.context is not None
    torch.testing.assert_close(mixed.context[0], told(text, "the (cat:1.5)")[0])
    torch.testing.assert_close(mixed.context[1], text.encode(["owl"])[0])
    torch.testing.assert_close(mixed.context[2], text.encode(["(dog)"])[0])


def test_a_chunk_whose_mean_is_lost_is_only_multiplied(text: TextEncoder) -> None:
    states = torch.tensor([[[[1.0], [1.0]]]])
    found = _weighted(states, torch.tensor([[[1.0, -1.0]]]), [True])
    assert found.flatten().tolist() == [1, -1]


def test_skipped_layers_leave_the_pooled_state_alone(text: TextEncoder) -> None:
    config = replace(text.config, projection_dim=8)
    reader = TextEncoder(config, CLIPText(config), text.tokenizer)
    ids = reader.tokenize(["the cat"]).ids
    with torch.no_grad():
        plain, skipped = (reader.embed([given("the cat", clip_skip=n)]) for n in (0, 1))
        hidden = reader.model.hidden_states(ids)
        both = reader.embed([given("the cat", clip_skip=n) for n in (1, 0)])
    expected = reader.model.text_model.final_layer_norm(hidden[1])
    torch.testing.assert_close(skipped.context, expected)
    assert torch.equal(skipped.vector, plain.vector)
    torch.testing.assert_close(both.context, torch.cat([skipped.context, plain.context]))


def test_the_pooled_state_is_the_first_chunks(text: TextEncoder) -> None:
    config = replace(text.config, projection_dim=8)
    reader = TextEncoder(config, CLIPText(config), text.tokenizer)
    with torch.no_grad():
        found = reader.embed([given("the (cat:1.5) BREAK dog")]).vector
        torch.testing.assert_close(found, reader.embed([given("the cat")]).vector)
