"""The training loop on a model of one matrix."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sdwidgets.errors import NumericsError
from sdwidgets.training.checkpoint import averaged
from sdwidgets.training.loop import Plan, train
from sdwidgets.training.muon import orthogonalized, split

PLAN = Plan(steps=40, batch_size=8, warmup=5, checkpoint_every=10, weight_decay=0.0)


class Line:
    """Learns a linear map from noise; at step ``spoilt`` the loss is NaN."""

    def __init__(self, spoilt=None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 3))
        self.target = torch.linspace(-1, 1, 12).view(4, 3)
        self.spoilt = spoilt

    def loss(self, draw):
        x = draw.normal(4)
        loss = (self.model(x) - x @ self.target).square().mean()
        return {"loss": loss * float("nan") if draw.step == self.spoilt else loss}


def test_the_loss_falls():
    steps = list(train(Line(), PLAN))
    assert [step.index for step in steps] == list(range(40))
    assert steps[-1].loss < 0.5 * steps[0].loss


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    rates = [step.lr / PLAN.lr for step in train(Line(), PLAN)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert set(rates[4:24]) == {1.0}
    assert rates[24:] == pytest.approx([1 - i / 16 for i in range(16)])
    assert PLAN.share_at(PLAN.steps) == 0


def test_a_longer_plan_begins_as_the_shorter_one_does():
    longer = replace(PLAN, steps=80)
    assert [longer.share_at(step) for step in range(24)] == [PLAN.share_at(s) for s in range(24)]


@pytest.mark.parametrize("stop", [10, 17])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, stop):
    whole, parted = Line(), Line()
    for _ in train(whole, PLAN, tmp_path / "whole.pt"):
        pass
    for step in train(parted, PLAN, tmp_path / "parted.pt"):
        if step.index == stop:
            break
    resumed = Line()
    indices = [step.index for step in train(resumed, PLAN, tmp_path / "parted.pt")]
    assert indices == list(range(stop + 1, 40))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    ours, theirs = averaged(tmp_path / "whole.pt"), averaged(tmp_path / "parted.pt")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_nan_stops_the_run_and_leaves_the_last_checkpoint(tmp_path):
    file = tmp_path / "line.pt"
    with pytest.raises(NumericsError, match="step 25"):
        for _ in train(Line(spoilt=25), PLAN, file):
            pass
    state = torch.load(file, weights_only=True)
    assert state["step"] == 20
    assert all(torch.isfinite(value).all() for value in state["model"].values())


def test_no_half_written_checkpoint_is_left(tmp_path):
    for _ in train(Line(), PLAN, tmp_path / "line.pt"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["line.pt"]


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (8, 8), (3, 6, 9)])
def test_an_orthogonalised_matrix_has_singular_values_near_one(shape):
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape)))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_matrices_of_one_shape_go_together_as_they_go_alone():
    torch.manual_seed(1)
    matrices = torch.randn(3, 6, 9)
    together = orthogonalized(matrices)
    for alone, one in zip(matrices, together, strict=True):
        assert torch.allclose(orthogonalized(alone), one, atol=1e-5)


def test_muon_takes_hidden_matrices_and_no_others():
    model = nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(3, 4, 3),
            "middle": nn.Conv2d(4, 4, 3),
            "conv_out": nn.Conv2d(4, 3, 3),
        }
    )
    matrices, others, _ = split(model)
    assert [id(m) for m in matrices] == [id(model["middle"].weight)]
    assert len(others) == 5
