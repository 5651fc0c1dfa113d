"""All benchmarks in order, each in its own process: ``python -m benchmarks.all``.

Takes the common options (--device, --threads, --rounds, --machine, --out) and
``--only NAME ...``. Ends with a list of every ratio; the exit status is 3 if a target was missed,
1 if a benchmark failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from .measure import HERE, MISSED, RESULTS, Ratio, machine_name

BENCHMARKS = (
    "first_picture",
    "against_diffusers",
    "live_view",
    "two_at_once",
    "threads",
    "memory",
    "loading",
    "sd1_step",
    "lora",
    "tiles",
    "branch",
    "shared_steps",
    "latent_against_pixel",
    "attention_cost",
    "attention_truth",
    "samplers",
    "edits",
    "sweep",
    "scrubbing",
    "labextension_start",
    "demo",
    "lab_update",
    "side_panel",
    "first_stages",
    "first_stage_diffusion",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--machine")
    given, others = parser.parse_known_args()
    machine = given.machine or machine_name(given.device)
    common = ["--out", str(given.out.resolve()), "--device", given.device, "--machine", machine]
    codes: dict[str, int] = {}
    for name in given.only:
        began = time.perf_counter()
        command = [sys.executable, "-m", f"benchmarks.{name}", *common, *others]
        codes[name] = subprocess.call(command, cwd=HERE.parent)
        print(f"   {name}: {time.perf_counter() - began:.0f} s\n", flush=True)

    print("== Everything")
    failed = [name for name, code in codes.items() if code not in (0, MISSED)]
    missed = 0
    for name in given.only:
        if name in failed:
            print(f"{name}: FAILED, see above")
            continue
        kept = json.loads((given.out / f"{name}-{machine}.json").read_text(encoding="utf-8"))
        for fields in kept["ratios"]:
            ratio = Ratio(**fields)
            missed += ratio.met is False
            print(ratio)
    print(f"\n{missed} targets missed, {len(failed)} benchmarks failed.")
    return 1 if failed else MISSED if missed else 0


if __name__ == "__main__":
    sys.exit(main())
