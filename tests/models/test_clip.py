from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sdwidgets import configs
from sdwidgets.configs import TextConfig
from sdwidgets.errors import InputError
from sdwidgets.models.clip import CLIPText

pytestmark = pytest.mark.usefixtures("seeded")

SMALL = TextConfig(300, 24, layers=3, heads=2, hidden=48, length=9, bos=298, eos=299, pad=299)
IDS = torch.tensor([[298, 5, 7, 299, 299, 299], [298, 5, 9, 11, 13, 299]])


def parameters(config: TextConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in CLIPText(config).parameters())


def test_the_published_numbers_of_parameters() -> None:
    assert parameters(configs.SD1.text[0]) == 123_060_480
    assert parameters(configs.SD2.text[0]) == 340_387_840
    assert parameters(configs.SDXL.text[0]) == 123_060_480
    assert parameters(configs.SDXL.text[1]) == 694_659_840


def test_a_model_built_without_weights_lacks_nothing_but_weights() -> None:
    with torch.device("meta"):
        model = CLIPText(SMALL)
    whole = CLIPText(SMALL)
    model.load_state_dict(whole.state_dict(), assign=True)
    assert torch.equal(model(IDS).states, whole(IDS).states)


def test_a_token_sees_none_of_those_after_it() -> None:
    one, other = CLIPText(SMALL)(IDS).states
    torch.testing.assert_close(one[:2], other[:2])
    assert not torch.allclose(one[2], other[2])


def test_states_of_every_depth() -> None:
    model = CLIPText(SMALL)
    hidden, norm = model.hidden_states(IDS), model.text_model.final_layer_norm
    assert len(hidden) == SMALL.layers + 1
    for skip in range(SMALL.layers + 1):
        model.config = replace(SMALL, skip=skip, norm=False)
        assert torch.equal(model(IDS).states, hidden[SMALL.layers - skip])
        model.config = replace(SMALL, skip=skip)
        assert torch.equal(model(IDS).states, norm(hidden[SMALL.layers - skip]))


@pytest.mark.parametrize("projection_dim", [0, 16])
@pytest.mark.parametrize("skip", [0, 1])
def test_the_pooled_state_is_that_of_the_first_end_after_all_layers(
    projection_dim: int, skip: int
) -> None:
    model = CLIPText(replace(SMALL, projection_dim=projection_dim, skip=skip, norm=not skip))
    last = model.text_model.final_layer_norm(model.hidden_states(IDS)[-1])
    expected = torch.stack([last[0, 3], last[1, 5]])
    if model.text_projection is not None:
        expected = model.text_projection(expected)
    assert torch.equal(model(IDS).pooled, expected)
    assert expected.shape == (2, projection_dim or 24)


def test_gradients_reach_every_weight() -> None:
    model = CLIPText(replace(SMALL, projection_dim=16))
    found = model(IDS)
    (found.states.square().sum() + found.pooled.square().sum()).backward()
    keys = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a constant added to all keys does not change the softmax: its gradient is only rounding
    assert [name for name in keys if not name.endswith("k_proj.bias")] == []


def test_more_tokens_than_positions_are_an_error() -> None:
    with pytest.raises(RuntimeError):
        CLIPText(SMALL)(torch.zeros(1, 10, dtype=torch.int64))


@pytest.mark.parametrize("skip", [-1, SMALL.layers + 1])
def test_layers_that_are_not_there_cannot_be_skipped(skip: int) -> None:
    with pytest.raises(InputError, match="skip"):
        CLIPText(replace(SMALL, skip=skip))
