"""How much does it save that the points of a sweep share steps?

``python -m benchmarks.shared_steps``

The bundled model makes a sweep over five values of the guidance, which act from half of the steps
on; another over four ends of the same run; a third over three second passes of the same first. Each
is made once with shared steps, and once point by point. The target is the share of the work that
has to be done, by the sizes at which steps are made, and a slack for the prompts and the decoder,
which every point has to itself.
``--quick`` tries the command in seconds: few steps, a single round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from .measure import against, begin, interleaved, options, report, synchroniser, use_threads
from .models import PROMPT, model_folder

SLACK = 0.15
"""How much more than its share of the work a sweep may cost."""
HIRES = 1.5


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="emoji", help="as benchmarks.models names it (emoji)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="4 steps, a single round")


def main() -> int:
    given = options(__doc__, 7, add)
    question = "How much does it save that the points of a sweep share steps?"
    described = begin(question, given)
    use_threads(given.threads)
    import sdwidgets as sdw
    from sdwidgets.sweep.plan import Plan
    from sdwidgets.sweep.running import run_points

    steps, rounds = (4, 1) if given.more.quick else (given.more.steps, given.rounds)
    with model_folder(given.more.model) as folder:
        model = sdw.load(folder, device=given.device)
    common = {"prompt": PROMPT, "steps": steps, "seed": 0}
    plans = {
        "guidance from half of the steps on": Plan.of(
            model, guidance_scale=[1, 2, 3, 5, 8], from_step=steps // 2, **common
        ),
        "ends of a run": Plan.of(
            model, end_step=[steps // 4, steps // 2, 3 * steps // 4, steps], **common
        ),
        "second passes": Plan.of(
            model, hires_strength=[0.3, 0.5, 0.7], hires=HIRES, hires_steps=steps, **common
        ),
    }

    def shared(plan: Plan) -> Callable[[], object]:
        return lambda: [result.image for result in run_points(model, plan)]

    def alone(plan: Plan) -> Callable[[], object]:
        return lambda: [result.image for point in plan for result in run_points(model, [point])]

    work: dict[str, Callable[[], object]] = {}
    for name, plan in plans.items():
        work |= {name: shared(plan), f"{name}, point by point": alone(plan)}
    seconds = interleaved(rounds, work, sync=synchroniser(given.device))
    ratios, costs = [], {}
    for name, plan in plans.items():
        cost = plan.cost()
        assert cost is not None
        costs[name] = {"made": cost.made, "saved": cost.saved}
        own = (cost.made - steps) * (HIRES**2 if name == "second passes" else 1)  # beyond a run
        most = round((own + steps) / (own + steps + cost.saved) + SLACK, 2)
        ratios.append(
            against(f"A sweep over {name}", seconds, name, f"{name}, point by point", most)
        )
    return report(
        "shared_steps",
        question,
        ratios,
        given,
        described,
        seconds=seconds,
        steps=steps,
        costs=costs,
    )


if __name__ == "__main__":
    sys.exit(main())
