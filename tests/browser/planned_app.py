"""Serve the page over the embedded model's arithmetic: plans are real, nothing is loaded, nothing runs."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[2]))

from diffusers import EulerDiscreteScheduler
from transformers import CLIPTokenizer

import app
from gspn_core.backbones.prompt_reader import PromptReader
from gspn_core.cascade.weights import stage_weights
from gspn_core.models.catalog import WORLD_FOLDER, find_card
from gspn_core.planning.plan import make_plan
from gspn_core.planning.timing import StageTiming
from gspn_core.planning.types import Machine

# Enough for 1024 px in the way that needs least, and too little for 2048.
TIMING = StageTiming(
    mixer="gspn", height=256, width=256, encode_seconds=0.02, step_seconds=0.03, decode_seconds=0.05
)
MACHINE = Machine(device="cpu", budget_bytes=74 * 10**7, base_bytes=6 * 10**8, timings=(TIMING,))


class Planner:
    """An engine that plans."""

    def __init__(self) -> None:
        self.card = find_card("world")
        config = WORLD_FOLDER / "scheduler" / "scheduler_config.json"
        self.config = json.loads(config.read_text(encoding="utf-8"))
        own = CLIPTokenizer.from_pretrained(WORLD_FOLDER / "tokenizer")
        self.texts = PromptReader(SimpleNamespace(tokenizer=own, tokenizer_2=own))

    def plan(self, settings):
        return self.texts.added_to(make_plan(settings, self.card, MACHINE))

    def weights(self, plan):
        config = EulerDiscreteScheduler.from_config(self.config).config
        return tuple(stage_weights(config, stage) for stage in plan.stages)

    def model_calls(self, stage):
        return stage.steps

    def run(self, plan, _should_stop, **_options):
        raise AssertionError(f"a run was begun that does not fit: {plan}")


if __name__ == "__main__":
    sys.exit(app.main(sys.argv[1:], load=lambda *_: (Planner(), "arithmetic")))
