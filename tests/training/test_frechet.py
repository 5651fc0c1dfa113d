"""The Frechet distance between sets of features."""

import pytest
import torch

from sdwidgets.errors import InputError
from sdwidgets.training.frechet import frechet_distance, scene_features
from sdwidgets.training.recognizer import Recognizer


def features(count=400, width=5, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).double()


def test_a_set_is_at_no_distance_from_itself():
    assert frechet_distance(features(), features()) == pytest.approx(0, abs=1e-9)


def test_moving_a_set_costs_the_square_of_the_way():
    way = torch.tensor([3.0, 0, 0, 4.0, 0])
    assert frechet_distance(features(), features() + way) == pytest.approx(25)


def test_of_one_feature_it_is_the_difference_of_means_and_deviations():
    a, b = features(width=1), 2 + 3 * features(width=1, seed=1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
    assert frechet_distance(a, b) == pytest.approx(float(expected))


def test_it_is_the_paper_s_formula_with_the_root_of_a_matrix():
    a, b = features(), features(seed=1) @ torch.randn(5, 5, dtype=torch.float64) + 1
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eig(cov_a @ cov_b)
    root = vectors @ torch.diag(values.sqrt()) @ torch.linalg.inv(vectors)
    trace = cov_a.trace() + cov_b.trace() - 2 * root.real.trace()
    expected = (a.mean(0) - b.mean(0)).square().sum() + trace
    assert frechet_distance(a, b) == pytest.approx(float(expected))
    assert frechet_distance(b, a) == pytest.approx(float(expected))


def test_sets_with_fewer_samples_than_features_have_a_distance():
    assert frechet_distance(features(3, 8), features(4, 8, seed=1)) > 0


def test_what_has_no_covariance_is_refused():
    with pytest.raises(InputError, match="two samples"):
        frechet_distance(features(1), features())
    with pytest.raises(InputError, match=r"\[400, 4\]"):
        frechet_distance(features(), features(width=4))


def test_every_picture_has_features_whatever_its_size():
    images = torch.rand(3, 3, 64, 64) * 2 - 1
    assert scene_features(Recognizer().eval(), images).shape == (3, 96)
