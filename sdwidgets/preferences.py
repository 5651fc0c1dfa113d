"""Settings for the whole kit in this process: ``sdwidgets.options``."""

from __future__ import annotations

from . import checks

MOST_THREADS = 1024


class Options:
    """Settings of the whole kit: ``sdwidgets.options``.

    ``threads`` (1 to 1024, or None): the number of CPU threads for a computation. With None the kit
    chooses: a single thread for networks as small as the bundled model's, otherwise as many as
    cores are free. It never exceeds torch's own number, and it respects a number that you have set
    yourself (``OMP_NUM_THREADS``, ``MKL_NUM_THREADS``, ``torch.set_num_threads``). Builds of torch
    without OpenMP keep their number. Raises InputError for other values.
    """

    def __init__(self) -> None:
        self._threads: int | None = None

    @property
    def threads(self) -> int | None:
        """The number of CPU threads for a computation; with None, the kit chooses."""
        return self._threads

    @threads.setter
    def threads(self, value: int | None) -> None:
        self._threads = None if value is None else checks.whole("threads", value, 1, MOST_THREADS)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ("threads", "_threads"):  # a typo would have no effect otherwise
            raise AttributeError(f"There is no option {name!r}. Known: threads.")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"Options(threads={self._threads})"


options = Options()
