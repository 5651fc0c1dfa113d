"""The distance of two sets of images as a whole: the Frechet distance of their features.

Source: "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (Heusel
et al., arXiv 1706.08500, equation 6). The paper uses Inception's features of photographs; for
emoji scenes the recogniser's features say more. The two distances are not comparable.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..scenes import SIZE
from .recognizer import Recognizer
from .surroundings import settled


@settled()
def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """The distance, at least 0, of the Gaussians of two sets of features [N, D] and [M, D].

    ``|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2))``, with A and B the covariances. The trace of
    the root is the sum of the roots of the eigenvalues of ``A^(1/2) B A^(1/2)``, a symmetric matrix
    with the eigenvalues of A B. Few samples make it too large: give many more than D.

    Raises InputError if a set has fewer than two samples, or D differs.
    """
    if features_a.ndim != 2 or features_a.shape[1:] != features_b.shape[1:]:
        raise InputError(
            f"Features are [N, D] with one D, got {[*features_a.shape]} and {[*features_b.shape]}."
        )
    if min(len(features_a), len(features_b)) < 2:
        raise InputError("A Frechet distance needs at least two samples in each set.")
    a, b = (features.double().cpu() for features in (features_a, features_b))
    cov_a, cov_b = (torch.atleast_2d(torch.cov(features.T)) for features in (a, b))
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T  # A^(1/2)
    roots = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt()
    means = (a.mean(0) - b.mean(0)).square().sum()
    distance = means + cov_a.trace() + cov_b.trace() - 2 * roots.sum()
    return max(float(distance), 0.0)


@settled()
def scene_features(judge: Recognizer, images: Tensor, batch: int = 50) -> Tensor:
    """The recogniser's features [N, 96] of images [N, 3, H, W] in [-1, 1], averaged over the image.

    It knows scenes of 128 pixels; other sizes are scaled to that."""
    device = next(judge.parameters()).device
    features = []
    for some in images.split(batch):
        if some.shape[-2:] != (SIZE, SIZE):
            some = F.interpolate(some, (SIZE, SIZE), mode="bilinear", antialias=True)
        some = some.to(device).contiguous(memory_format=torch.channels_last)
        features.append(judge.body(some).mean((2, 3)).cpu())
    return torch.cat(features)
