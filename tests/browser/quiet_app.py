"""Serve the page on a machine that counts as quiet, whatever else the tests' machine does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import app
from gspn_core.runtime.other_work import OtherWork

if __name__ == "__main__":
    OtherWork.cores = 0.0
    sys.exit(app.main(sys.argv[1:]))
