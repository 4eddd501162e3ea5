"""`python -m gspn_core.evaluation COMMAND`: see `gspn_core.evaluation.commands`."""

import sys

from gspn_core.evaluation.commands import main

if __name__ == "__main__":
    sys.exit(main())
