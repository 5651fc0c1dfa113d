"""What a person may set for all of the kit at once, in this process: ``sdwidgets.options``."""

from __future__ import annotations

from . import checks

MOST_THREADS = 1024


class Options:
    """Settings of the whole kit: ``sdwidgets.options``.

    ``threads`` (1 to 1024, or None): CPU threads of a computation. None leaves the choice to the
    kit: one for networks as small as the bundled model's, else as many as the machine has cores
    free. The choice never exceeds torch's own number, and where you have set a number yourself
    (``OMP_NUM_THREADS``, ``MKL_NUM_THREADS``, ``torch.set_num_threads``), yours stays. Builds of
    torch without OpenMP keep their number. Raises InputError for anything else.
    """

    def __init__(self) -> None:
        self._threads: int | None = None

    @property
    def threads(self) -> int | None:
        """CPU threads of a computation; None leaves the choice to the kit."""
        return self._threads

    @threads.setter
    def threads(self, value: int | None) -> None:
        self._threads = None if value is None else checks.whole("threads", value, 1, MOST_THREADS)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ("threads", "_threads"):  # a slip of the pen would be kept in silence
            raise AttributeError(f"There is no option {name!r}. Known: threads.")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"Options(threads={self._threads})"


options = Options()
