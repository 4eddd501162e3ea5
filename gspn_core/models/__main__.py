"""`python -m gspn_core.models`: see `gspn_core.cli.models`."""

import sys

from gspn_core.cli.models import main

if __name__ == "__main__":
    sys.exit(main())
