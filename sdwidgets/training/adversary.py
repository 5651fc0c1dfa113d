"""The patch-based adversary of autoencoder training: it tells images from reconstructions.

Sources: PatchGAN ("Image-to-Image Translation with Conditional Adversarial Networks", Isola et al.,
arXiv 1611.07004, section 3.2.2), as in "Taming Transformers" (Esser et al., arXiv 2012.09841,
section 3.1), whose losses the latent-diffusion paper uses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


class Adversary(nn.Module):
    """image [B, 3, H, W] in [-1, 1] -> a score per patch [B, 1, h, w], high where it looks real.

    A patch is 16, 34 or 70 pixels wide with one, two or three ``layers``. Group norms replace the
    papers' batch norms: a score then depends on its own image alone, and training does not depend
    on how a batch is split over processes.
    """

    def __init__(self, width: int = 64, layers: int = 3):
        super().__init__()
        widths = [width * min(2**i, 8) for i in range(layers + 1)]
        self.body = nn.Sequential(nn.Conv2d(3, width, 4, 2, padding=1), nn.LeakyReLU(0.2))
        for i in range(1, layers + 1):
            stride = 2 if i < layers else 1
            self.body.extend(
                [
                    nn.Conv2d(widths[i - 1], widths[i], 4, stride, padding=1, bias=False),
                    nn.GroupNorm(4, widths[i]),
                    nn.LeakyReLU(0.2),
                ]
            )
        self.body.append(nn.Conv2d(widths[-1], 1, 4, 1, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)

        self.smallest = 3 * 2**layers  # pixels along an image's side, for a single score

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.body(image)
        return scores


def told_apart(adversary: Adversary, real: Tensor, made: Tensor) -> Tensor:
    """The adversary's loss: the hinge loss of telling ``real`` from ``made``, 0 where it is sure.

    Gradients reach only the adversary.
    """
    return 0.5 * (F.relu(1 - adversary(real)).mean() + F.relu(1 + adversary(made.detach())).mean())


def found_out(adversary: Adversary, made: Tensor) -> Tensor:
    """The generator's loss: minus the mean score. Gradients reach only ``made``."""
    fixed = {name: weight.detach() for name, weight in adversary.named_parameters()}
    scores: Tensor = functional_call(adversary, fixed, (made,))
    return -scores.mean()


def adaptive_weight(
    told: Tensor,
    found: Tensor,
    last: Tensor,
    mean: Callable[[Tensor], Tensor] | None = None,
    most: float = 1e4,
) -> Tensor:
    """The weight, without gradients, that gives the adversary's loss ``found`` as much pull on the
    ``last`` layer's weights as the reconstruction loss ``told`` has (arXiv 2012.09841, equation 7).

    ``mean`` averages the gradients over the processes that share a batch.
    """
    (by_told,) = torch.autograd.grad(told, last, retain_graph=True)
    (by_found,) = torch.autograd.grad(found, last, retain_graph=True)
    if mean is not None:
        by_told, by_found = mean(by_told), mean(by_found)
    return (by_told.norm() / (by_found.norm() + 1e-4)).clamp(0, most).detach()
