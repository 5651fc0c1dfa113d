"""Muon: orthogonalised momentum, for weights that are matrices.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the
coefficients given there. torch's own (2.9 and later) takes 2-D weights only. Most of our weights
are convolutions, treated here as matrices [out, in * height * width]. On the bundled model's
autoencoder a step of Muon is worth two to three steps of AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def orthogonalized(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Approximately U V^T for every matrix U S V^T of [..., m, n], by Newton-Schulz iteration.

    Singular values end up between 0.7 and 1.2. Half precision serves as well as single."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum with an orthogonalised step; ``lr`` is the step's spectral norm.

    Matrices of the same shape are orthogonalised together, in ``dtype``."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.02,
        momentum: float = 0.9,
        decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            updates: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(momentum, group["momentum"]).flatten(1)
                updates.setdefault(update.shape, []).append((weight, update))
            for (rows, columns), pairs in updates.items():
                together = torch.stack([update for _, update in pairs]).to(self.dtype)
                steps = orthogonalized(together) * max(1, rows / columns) ** 0.5
                for (weight, _), step in zip(pairs, steps, strict=True):
                    weight.mul_(1 - group["lr"] * group["decay"])
                    weight.add_(step.view_as(weight), alpha=-group["lr"])


def split(model: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """(weights for Muon, other weights, an adversary's weights).

    Muon does not take embeddings, nor the layers at a network's two ends, which turn something else
    into features or features into something else; nor an adversary, which learns nothing at that
    pace."""
    ends = (
        "conv_in", "conv_out", "embedding", "log_temperature", "project", "cells", "color",
        "token_emb", "pos_emb", "channel_mapper",
    )  # fmt: skip
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    adversary: list[Tensor] = []
    for name, weight in model.named_parameters():
        if weight.requires_grad and name.startswith("adversary."):
            adversary.append(weight)
        elif weight.requires_grad:
            hidden = weight.ndim > 1 and not any(end in name for end in ends)
            (matrices if hidden else others).append(weight)
    return matrices, others, adversary
