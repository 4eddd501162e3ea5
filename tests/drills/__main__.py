"""Run drills, all by default: `python -m tests.drills [DRILL …] [--count N] [--seed N]`.

Ends with 1 if a bound fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module

from tqdm import tqdm

from tests.drills.figures import Drill

# How often each is done by hand; the tests do it a few times.
COUNTS = {
    "pruning": 10_000,
    "kills": 200,
    "disk": 200,
    "records": 500,
    "clock": 100,
    "folders": 100,
    "models": 40,
    "queued": 50,
    "followers": 96,
    "memory": 300,
    "limit": 40,
    "single": 90,
    "api": 2_000,
    "fuzz": 10_000,
}


def main() -> int:
    """Run the drills that the command line names and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("drills", nargs="*", metavar="DRILL", help=f"of {', '.join(COUNTS)}; all by default")
    parser.add_argument("--count", type=int, help="how often, in place of each drill's own number")
    parser.add_argument("--seed", type=int, help="what is drawn, in place of each drill's own")
    options = parser.parse_args()
    unknown = sorted(set(options.drills) - set(COUNTS))
    if unknown:
        parser.error(f"there is no drill {', '.join(unknown)}; there are {', '.join(COUNTS)}")
    failed = False
    for name in options.drills or COUNTS:
        module = import_module(f"tests.drills.{name}")
        if options.seed is not None and hasattr(module, "SEED"):
            module.SEED = options.seed
        drill: Drill = module.drill
        count, began = options.count or COUNTS[name], time.monotonic()
        with tqdm(total=count, desc=name, file=sys.__stderr__) as bar:

            def tell(done: int, bar: tqdm = bar) -> None:
                bar.update(done - bar.n if done > bar.n else 0)

            figures = drill(count, tell)
        print(f"{name}, {time.monotonic() - began:.0f} s")
        for figure in figures:
            print(f"  {figure}")
        failed |= not all(figure.holds for figure in figures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
