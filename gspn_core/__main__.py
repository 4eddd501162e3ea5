"""`python -m gspn_core PROMPT` and `python -m gspn_core grid FILE`: see `gspn_core.cli`."""

import sys


def main(argv: list[str]) -> int:
    """Run the command that the arguments begin with, and return its exit code."""
    if argv[:1] == ["grid"]:
        from gspn_core.cli import grid

        return grid.main(argv[1:])
    from gspn_core.cli import generate

    return generate.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
