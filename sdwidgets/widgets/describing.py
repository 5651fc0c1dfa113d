"""What a model is, told before it is loaded: by its headers, on a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..checks import shortened
from ..configs import ModelConfig
from ..errors import CheckpointNotFound, SDWidgetsError
from ..folders import without_folders
from .newest import Newest
from .watching import in_words

MOST = 600  # characters


class Describing:
    """Describes the model that was chosen last. ``show(model, line, config)`` is called on its
    thread; the config is None if it is not known.

    The disk may be slow, so nothing waits for it. Nothing is loaded or fetched.
    """

    def __init__(self, show: Callable[[str, str, ModelConfig | None], object]):
        self._show = show
        self._queue = Newest(lambda _: None, lambda: None, name="sdwidgets description")

    @property
    def idle(self) -> bool:
        """Whether everything that was asked for has been said."""
        return self._queue.idle.is_set()

    def look(self, model: str) -> None:
        """Describe this model instead of any other. Returns at once."""

        def work(is_old: Callable[[], bool]) -> None:
            line, config = line_about(model), config_of(model)
            if not is_old():
                self._show(model, line, config)

        self._queue.ask("model", work)

    def close(self) -> None:
        """Describe nothing more."""
        self._queue.close()


def line_about(model: str) -> str:
    """What a file, a folder or a model of the hub is, in a line without folders.

    "" for other names: only the manager knows what they mean.
    """
    from ..checkpoints import inspect
    from ..checkpoints.hub import is_model_id

    try:
        is_there = os.path.exists(os.path.expanduser(model))
        if not is_there and not is_model_id(model):
            return ""
        said = inspect(model).line
    except CheckpointNotFound:
        return "It is not on this machine yet: the first run downloads it from the hub."
    except SDWidgetsError as error:
        said = in_words(error)
    except ValueError:  # a NUL: no name of a file
        return ""
    return shortened(" ".join(without_folders(said).split()), MOST)


def config_of(model: str) -> ModelConfig | None:
    """The config of a model that is on this machine, by its headers; None for others."""
    from ..checkpoints import listing

    return listing.config_of(model)
