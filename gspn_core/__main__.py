"""`python -m gspn_core PROMPT`: see `gspn_core.cli.generate`."""

import sys

from gspn_core.cli.generate import main

if __name__ == "__main__":
    sys.exit(main())
