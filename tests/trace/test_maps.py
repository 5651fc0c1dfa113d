from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sdwidgets.trace import PromptTokens, heat_map
from sdwidgets.trace.maps import averaged, resized, stretched, word_map


def maps_with(token: int, cell: tuple[int, int]) -> dict[str, np.ndarray]:
    """Two layers, [1, 1, 5, h, w], where a single cell looks at a single token."""
    small, large = np.zeros((1, 1, 5, 2, 2), np.float16), np.zeros((1, 1, 5, 4, 4), np.float16)
    small[0, 0, token, cell[0] // 2, cell[1] // 2] = 1
    large[0, 0, token, cell[0], cell[1]] = 1
    return {"small": small, "large": large}


def test_a_heat_map_is_hot_where_the_word_was_looked_at() -> None:
    steps = [maps_with(3, (0, 3)), maps_with(3, (0, 3))]
    heat = heat_map(steps, [3], (16, 16))
    assert heat.shape == (16, 16) and heat.dtype == np.float32
    row, column = divmod(int(heat.argmax()), 16)
    assert row < 4 and column >= 12
    assert heat_map(steps, [2], (16, 16)).max() == 0


def test_a_heat_map_is_the_mean_over_steps_layers_and_tokens() -> None:
    one, other = maps_with(3, (0, 3)), maps_with(4, (2, 1))
    size = (8, 8)
    parts = [
        heat_map([s], [t], size, layers=[n]) for s in (one, other) for t in (3, 4) for n in one
    ]
    assert np.allclose(heat_map([one, other], [3, 4], size), np.mean(parts, axis=0))


def test_heads_are_averaged_or_taken_apart() -> None:
    heads = np.random.default_rng(0).random((2, 3, 4, 5, 6)).astype(np.float16)
    mean = heat_map([{"a": heads}], [1], (5, 6), picture=1)
    each = [heat_map([{"a": heads}], [1], (5, 6), picture=1, head=i) for i in range(3)]
    assert np.allclose(each[2], heads[1, 2, 1])
    assert np.allclose(mean, np.mean(each, axis=0), atol=1e-6)


def test_even_attention_gives_an_even_map_of_any_shape() -> None:
    maps = {"a": np.full((1, 1, 2, 3, 5), 0.25), "b": np.full((1, 1, 2, 6, 10), 0.25)}
    assert np.allclose(heat_map([maps], [1], (48, 80)), 0.25)


@pytest.mark.parametrize(
    ("small", "large"), [((2, 3), (16, 30)), ((1, 1), (5, 7)), ((5, 9), (40, 33)), ((8, 8), (4, 5))]
)
def test_resizing_is_torchs(small: tuple[int, int], large: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random((3, *small)).astype(np.float32)
    theirs = F.interpolate(torch.from_numpy(values)[None], size=large, mode="bilinear")[0]
    assert np.allclose(resized(values, large), theirs.numpy(), atol=1e-6)


def test_blocks_of_cells_are_averaged() -> None:
    maps = np.arange(15, dtype=np.float16).reshape(1, 3, 5)
    assert averaged(maps, 2)[0].tolist() == [[3, 5, 6.5], [10.5, 12.5, 14]]
    assert averaged(maps, 1).tolist() == maps.tolist()


def test_stretching_leaves_a_flat_map_flat() -> None:
    assert stretched(np.full((2, 2), 0.3)).max() == 0
    assert stretched(np.array([[1.0, 3.0]])).tolist() == [[0, 1]]


PROMPT = PromptTokens("a cat", ("a", "ca", "t"), ((0, 1), (2, 4), (4, 5)))


def test_the_shares_of_all_words_sum_to_one() -> None:
    maps = {"a": np.random.default_rng(0).random((1, 1, 6, 4, 4))}
    shares = [word_map([maps], PROMPT, PROMPT.find(w), (4, 4), against="words") for w in (0, 1)]
    assert np.allclose(sum(shares), 1)
    own = maps["a"][0, 0, [2, 3]].mean(0)  # a word of several pieces is their mean
    assert np.allclose(shares[1], own / (own + maps["a"][0, 0, 1]))


def test_occurrences_count_together() -> None:
    prompt = PromptTokens("a cat a", ("a", "cat", "a"), ((0, 1), (2, 5), (6, 7)))
    maps = {"a": np.random.default_rng(0).random((1, 1, 6, 4, 4))}
    shares = {
        word: word_map([maps], prompt, prompt.find(word), (4, 4), against="words")
        for word in ("a", "cat")
    }
    assert np.allclose(sum(shares.values()), 1)
    each = [
        word_map([maps], prompt, prompt.find("a", occurrence=i), (4, 4), against="words")
        for i in (0, 1)
    ]
    assert np.allclose(shares["a"], sum(each))


def test_a_part_of_a_word_has_its_own_part_of_the_share() -> None:
    maps = {"a": np.random.default_rng(0).random((1, 1, 6, 4, 4))}
    whole, first, second = (
        word_map([maps], PROMPT, PROMPT.find(span), (4, 4), against="words")
        for span in ((2, 5), (2, 4), (4, 5))
    )
    assert np.allclose(first + second, whole)
    assert np.allclose(first * maps["a"][0, 0, 3], second * maps["a"][0, 0, 2])


def test_where_no_word_is_looked_at_the_share_is_zero() -> None:
    maps = {"a": np.zeros((1, 1, 6, 2, 2))}
    assert word_map([maps], PROMPT, (1,), (2, 2), against="words").max() == 0
