from __future__ import annotations

import numpy as np
import pytest

from sdwidgets.models.conditioning import Given, Tokens
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace.alignment import Pair, alignment, columns_of, pairs
from sdwidgets.trace.tokens import PromptTokens


def read(model: LatentDiffusion, *prompts: str) -> Tokens:
    return model.tokenize([Given(prompt, (16, 16)) for prompt in prompts])


def of(read: Tokens, row: int, prompt: str) -> PromptTokens:
    return PromptTokens.of(prompt, read, row)


def said(model: LatentDiffusion, old: str, new: str) -> str:
    """Return the pairs as text: "the cat>dog" for a common word and one that is replaced."""
    tokens = read(model, old, new)
    before, after = of(tokens, 0, old), of(tokens, 1, new)

    def text(prompt: PromptTokens, some: tuple[int, ...]) -> str:
        return "".join(prompt.pieces[token - 1] for token in some)

    return " ".join(
        text(before, pair.before) + ("" if pair.same else ">" + text(after, pair.after))
        for pair in pairs(before, after)
    )


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("the cat", "the cat", "the cat"),
        ("The  CAT", "the cat", "the cat"),
        ("the cat", "the dog", "the cat>dog"),
        ("the cat", "the big cat", "the >big cat"),
        ("the big cat", "the cat", "the big> cat"),
        ("cat", "dog, dog", "cat>dog,dog"),
        ("the cat, the cat", "the dog, the cat", "the cat>dog , the cat"),
        ("the cat on the mat", "on the mat, the cat", "thecat> on the mat >,thecat"),
        ("a dog by a cat", "a cat by a dog", "a dog>cat by a cat>dog"),
        ("a bird the cat", "a cat the bird", "a bird>cat the cat>bird"),
        ("the cat.", "the cat!", "the cat .>!"),
        ("(cat:1.3) dog", "cat [bird]", "cat dog>bird"),
        ("don't go", "do not go", "don't>donot go"),
        ("", "the cat", ">thecat"),
        ("", "", ""),
    ],
)
def test_words_outside_a_longest_common_subsequence_replace_each_other(
    tiny_model: LatentDiffusion, old: str, new: str, wanted: str
) -> None:
    assert said(tiny_model, old, new) == wanted


def test_a_word_of_several_tokens_is_one_word(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "the bird", "the cat")
    found = pairs(of(tokens, 0, "the bird"), of(tokens, 1, "the cat"))
    assert found == [Pair((1,), (1,)), Pair((2, 3, 4, 5), (2,), same=False)]


# -- the attention that follows ----------------------------------------------------------------


def aligned(model: LatentDiffusion, old: str, new: str, *more: str) -> tuple[Tokens, np.ndarray]:
    """Return the tokens, and what becomes of the attention to the source: each token's in turn."""
    tokens = read(model, old, new, *more)
    found = alignment(tokens, pairs(of(tokens, 0, old), of(tokens, 1, new)))
    return tokens, found.taken


def test_the_same_prompt_keeps_its_attention(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "the cat", "the cat")
    found = alignment(tokens, pairs(of(tokens, 0, "the cat"), of(tokens, 1, "the cat")))
    assert found.is_same and not found.own.any() and not found.dropped.any()


@pytest.mark.parametrize(
    ("old", "new"), [("cat", "dog"), ("bird", "cat"), ("cat", "bird"), ("the bird", "catfish dog")]
)
def test_replaced_words_get_all_of_the_attention(
    tiny_model: LatentDiffusion, old: str, new: str
) -> None:
    old, new = f"a {old} on a car", f"a {new} on a car"
    tokens, taken = aligned(tiny_model, old, new)
    p = np.random.default_rng(0).dirichlet(np.ones(len(taken)), 50)
    q = p @ taken
    assert np.allclose(q.sum(1), 1)
    (pair,) = [p for p in pairs(of(tokens, 0, old), of(tokens, 1, new)) if not p.same]
    assert np.allclose(q[:, list(pair.after)].sum(1), p[:, list(pair.before)].sum(1))
    ends = [len(tokens.pieces[row]) + 1 for row in (0, 1)]
    assert np.allclose(q[:, [0, ends[1]]], p[:, [0, ends[0]]])  # start and end
    assert np.allclose(q[:, ends[1] + 1 :].sum(1), p[:, ends[0] + 1 :].sum(1))  # padding


def test_an_added_word_has_its_own_attention_and_a_lost_one_gives_it_up(
    tiny_model: LatentDiffusion,
) -> None:
    for old, new in (("the cat", "the big cat"), ("the big cat", "the cat")):
        tokens = read(tiny_model, old, new)
        found = alignment(tokens, pairs(of(tokens, 0, old), of(tokens, 1, new)))
        added = new == "the big cat"
        assert set(np.flatnonzero(found.own)) == ({2, 3, 4} if added else set())
        assert set(np.flatnonzero(found.dropped)) == (set() if added else {2, 3, 4})
        lost = found.dropped.astype(bool)
        assert not found.taken[lost].any() and not found.taken[:, found.own.astype(bool)].any()
        assert np.allclose(found.taken[~lost].sum(1), 1)


def test_the_chunks_of_a_context_that_is_repeated_count_once(tiny_model: LatentDiffusion) -> None:
    long = "the cat " + "dog " * 80
    tokens = read(tiny_model, "the cat", long)
    assert tokens.periods == (77, 154)
    found = alignment(tokens, pairs(of(tokens, 0, "the cat"), of(tokens, 1, long)))
    p = np.zeros((1, 154), np.float32)
    p[0, [2, 77 + 2]] = 0.5  # the cat, in both repetitions
    assert np.flatnonzero(p @ found.taken).tolist() == [2] and (p @ found.taken).sum() == 1
    found = alignment(tokens, pairs(of(tokens, 1, long), of(tokens, 0, "the cat")), rows=(1, 0))
    p = np.zeros((1, 154), np.float32)
    p[0, 2] = 1
    q = p @ found.taken
    assert q[0, [2, 77 + 2]].tolist() == [0.5, 0.5] and q.sum() == 1


def test_columns_of_a_token_in_every_repetition(tiny_model: LatentDiffusion) -> None:
    tokens = read(tiny_model, "the cat", "dog " * 80)
    assert columns_of(tokens, 0, [2]) == (2, 79)
    assert columns_of(tokens, 1, [1, 76]) == (1, 78)  # the second chunk has a start of its own
