"""`python -m gspn_core.bench NAME`: measure, print a table, and write it as JSON if asked.

Figures are medians over runs of one process on one machine; the machine is named under the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from gspn_core.bench import card, cascade, mixer, page, plan, quantize, scan, startup, timing, unet
from gspn_core.bench.table import Table, machine_line
from gspn_core.errors import GspnError

BENCHES = {
    "scan": scan,
    "cascade": cascade,
    "plan": plan,
    "startup": startup,
    "page": page,
    "card": card,
    "unet": unet,
    "timing": timing,
    "mixer": mixer,
    "quantize": quantize,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gspn_core.bench", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="name", required=True)
    for name, module in BENCHES.items():
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0])
        command.add_argument("--repeats", type=int, default=3, help="counted runs (default: 3)")
        command.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
        module.add_arguments(command)
    arguments = parser.parse_args(argv)
    try:
        tables: list[Table] = BENCHES[arguments.name].measure(arguments)
    except GspnError as error:
        parser.exit(1, f"{error}\n")
    for table in tables:
        print(table.markdown(), end="\n\n")
    print(machine_line())
    if arguments.json:
        content = {"machine": machine_line(), "tables": [table.to_dict() for table in tables]}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
