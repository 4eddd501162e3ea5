"""Serve the page over a model that paints at once: everything but the pictures is the real app's."""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import app
from gspn_core.planning.plan import make_plan
from tests.browser.planned_app import MACHINE, Planner
from tests.drills.toy import paint

ROOMY = replace(MACHINE, budget_bytes=16 * 10**9)


class Painter(Planner):
    """An engine that plans and paints."""

    def plan(self, settings):
        """Return the plan of a machine on which everything fits."""
        return self.texts.added_to(make_plan(settings, self.card, ROOMY))

    def run(self, plan, should_stop, **options):
        """Yield the events of a run."""
        yield from paint(plan, should_stop, **options)


if __name__ == "__main__":
    sys.exit(app.main(sys.argv[1:], load=lambda *_: (Painter(), "paint")))
