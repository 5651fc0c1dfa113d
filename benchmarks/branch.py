"""What does a branch cost, beside a whole run?

``python -m benchmarks.branch``

The bundled model makes an image. A branch goes on from before half of its steps, another from
before three quarters; each has another prompt, and an image at its end. In every round, both are
compared with a whole run. A branch pays the steps that are left, the prompt and the decoder.
``--quick`` tries the command in seconds: few steps, a single round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from .measure import against, begin, interleaved, options, report, synchroniser, use_threads
from .models import PROMPT, model_folder

SHARES = {"half": 0.5, "three quarters": 0.75}
SLACK = 0.1
"""How much more than its share of the steps a branch may cost: the prompt and the decoder."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="emoji", help="as benchmarks.models names it (emoji)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="4 steps, a single round")


def main() -> int:
    given = options(__doc__, 15, add)
    question = "What does a branch cost, beside a whole run?"
    described = begin(question, given)
    use_threads(given.threads)
    import sdwidgets as sdw

    steps, rounds = (4, 1) if given.more.quick else (given.more.steps, given.rounds)
    with model_folder(given.more.model) as folder:
        model = sdw.load(folder, device=given.device)
    trace = model.generate(PROMPT, steps=steps, seed=0)

    def branch(share: float) -> Callable[[], object]:
        return lambda: trace.branch(round(share * steps), prompt=f"{PROMPT}, snow").image

    whole = "a whole run"
    work: dict[str, Callable[[], object]] = {
        whole: lambda: model.generate(PROMPT, steps=steps, seed=0).image,
        **{f"a branch at {name}": branch(share) for name, share in SHARES.items()},
    }
    seconds = interleaved(rounds, work, sync=synchroniser(given.device))
    ratios = [
        against(f"A branch at {name} of the steps", seconds, f"a branch at {name}", whole, most)
        for name, most in ((name, 1 - share + SLACK) for name, share in SHARES.items())
    ]
    return report("branch", question, ratios, given, described, seconds=seconds, steps=steps)


if __name__ == "__main__":
    sys.exit(main())
