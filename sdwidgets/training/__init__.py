"""Training from scratch: autoencoders, text encoders, denoisers, and the bundled model's judge.

    from sdwidgets import training

    pictures = training.ImageFolder("my_pictures", size=64)
    task = training.diffusion(pictures, autoencoder="emoji")
    for step in training.train(task, training.Plan(steps=500), "runs/mine.pt"): ...
    model = task.result()

``python -m sdwidgets.training --help`` lists the parts of the bundled model. Nothing else imports
this package.
"""

# Some functions have their module's name: imported here, the name means the function.
from ..checkpoints.features import bundled_features, load_lpips
from .autoencoder import AutoencoderTask, autoencoder
from .data import Arrays, Pictures, Scenes
from .diffusion import DiffusionTask, diffusion
from .folder import ImageFolder
from .loop import Draw, Plan, Task, TrainStep, distributed, train
from .text import TextTask, text

__all__ = [
    "Arrays",
    "AutoencoderTask",
    "DiffusionTask",
    "Draw",
    "ImageFolder",
    "Pictures",
    "Plan",
    "Scenes",
    "Task",
    "TextTask",
    "TrainStep",
    "autoencoder",
    "bundled_features",
    "diffusion",
    "distributed",
    "load_lpips",
    "text",
    "train",
]
