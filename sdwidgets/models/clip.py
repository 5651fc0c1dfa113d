"""CLIP's text transformer: token ids -> a state per token, and a pooled state per text.

Source: "Learning Transferable Visual Models From Natural Language Supervision" (Radford et al.,
arXiv 2103.00020, section 2.4): causal, pre-norm, with learned positions. Modules have the names of
the published weights. New weights have the scales of the published code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs import TextConfig, VisionConfig
from ..errors import InputError
from .word_vectors import WordVectors


@dataclass(frozen=True, eq=False)
class TextStates:
    """The states of B texts of T tokens.

    ``states`` [B, T, width]: a state per token, at the depth that the config asks for. ``pooled``
    [B, projection_dim, or width without a projection]: a state per text.
    """

    states: Tensor
    pooled: Tensor


def quick_gelu(x: Tensor) -> Tensor:
    """Return x * sigmoid(1.702 x), the approximation of GELU that OpenAI's CLIP was trained with
    ("Gaussian Error Linear Units", Hendrycks and Gimpel, arXiv 1606.08415, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick_gelu": quick_gelu, "gelu": F.gelu}


def linear(inputs: int, outputs: int, *, std: float, bias: bool = True) -> nn.Linear:
    """Return a linear layer with random weights of standard deviation ``std``, and biases of 0."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    draw(layer.weight, std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def embedding(count: int, width: int, *, std: float = 0.02) -> WordVectors:
    """Return ``count`` random vectors of standard deviation ``std``."""
    weight = torch.empty(count, width)
    draw(weight, std)
    return WordVectors.from_pretrained(weight, freeze=False)


def draw(weight: Tensor, std: float) -> None:
    """Fill a weight at random, but not on the meta device: there is nothing to fill, and torch
    would import its compiler, which takes longer than importing torch."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


class Embeddings(nn.Module):
    """ids [B, T] -> [B, T, width]: a learned vector per token plus a learned one per position."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.token_embedding = embedding(config.vocab_size, config.width)
        self.position_embedding = embedding(config.length, config.width)

    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]


class SelfAttention(nn.Module):
    """[B, T, width] -> [B, T, width]: each token attends to all, or, where it is ``causal``, to
    itself and the tokens before it."""

    def __init__(self, config: TextConfig | VisionConfig, causal: bool):
        super().__init__()
        self.heads, width, self.causal = config.heads, config.width, causal
        std = (2 * config.layers * width) ** -0.5  # smaller, the more layers add up
        # In the order of the published files, on which a model's fingerprint depends.
        self.k_proj = linear(width, width, std=std)
        self.v_proj = linear(width, width, std=std)
        self.q_proj = linear(width, width, std=std)
        self.out_proj = linear(width, width, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, d]
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        h = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(h.transpose(1, 2).flatten(2))  # [B, T, width]


class MLP(nn.Module):
    """[..., width] -> [..., width] through one hidden layer."""

    def __init__(self, config: TextConfig | VisionConfig):
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        width, hidden = config.width, config.hidden
        self.fc1 = linear(width, hidden, std=(2 * width) ** -0.5)
        self.fc2 = linear(hidden, width, std=(2 * config.layers * width) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Layer(nn.Module):
    """[B, T, width] -> [B, T, width]: self-attention, then the MLP, both pre-norm and residual."""

    def __init__(self, config: TextConfig | VisionConfig, causal: bool):
        super().__init__()
        self.self_attn = SelfAttention(config, causal)
        self.layer_norm1 = nn.LayerNorm(config.width)
        self.mlp = MLP(config)
        self.layer_norm2 = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """The layers, in the order in which they are applied."""

    def __init__(self, config: TextConfig | VisionConfig, causal: bool):
        super().__init__()
        self.layers = nn.ModuleList(Layer(config, causal) for _ in range(config.layers))


class Transformer(nn.Module):
    """ids [B, T] -> the states before the first layer and after every layer."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config, causal=True)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(self, ids: Tensor) -> list[Tensor]:
        states = [self.embeddings(ids)]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        return states


class CLIPText(nn.Module):
    """ids [B, T] -> `TextStates`; T is at most ``config.length``. Raises InputError for a ``skip``
    of more layers than there are.

    The pooled state is the end token's, after all layers, the final layer norm and, if the config
    has one, the projection. (For configs with the old, wrong end token 2, transformers takes the
    largest id instead, which is the end token unless tokens were added after it.)
    """

    def __init__(self, config: TextConfig):
        super().__init__()
        if not 0 <= config.skip <= config.layers:
            raise InputError(
                f"A text encoder of {config.layers} layers cannot skip {config.skip}.\n"
                f"Give a skip of 0 to {config.layers}.",
                parameter="skip",
            )
        self.config = config
        self.text_model = Transformer(config)
        self.text_projection = (
            linear(config.width, config.projection_dim, std=config.width**-0.5, bias=False)
            if config.projection_dim
            else None
        )

    def hidden_states(self, ids: Tensor) -> list[Tensor]:
        """Return ``config.layers`` + 1 states [B, T, width], all without the final layer norm.

        Item i is the input of layer i, and the last item is the output of the last layer.
        """
        return self.text_model(ids)

    def forward(self, ids: Tensor, skip: int = 0) -> TextStates:
        """``skip``: how many layers the states leave out beyond ``config.skip``."""
        config, norm = self.config, self.text_model.final_layer_norm
        hidden, skip = self.hidden_states(ids), config.skip + skip
        last = norm(hidden[-1])
        if skip == 0 and config.norm:
            states = last
        else:
            states = hidden[config.layers - skip]
            states = norm(states) if config.norm else states
        end = (ids == config.eos).int().argmax(dim=1)  # the first, as padding may be the same token
        pooled = last[torch.arange(len(ids), device=ids.device), end]
        if self.text_projection is not None:
            pooled = self.text_projection(pooled)
        return TextStates(states, pooled)
