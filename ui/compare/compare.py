"""Two to four stages of any runs next to each other: what compare.js shows of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import gradio as gr

from gspn_core.errors import BadSetting, GspnError
from gspn_core.planning.types import ModelCard
from gspn_core.runs.pairs import PairFigures
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView, StageView, kind_of
from gspn_core.settings import FIELD_NAMES, OVERRIDABLE, Settings
from ui.guard.files import file_url
from ui.guard.payload import Items, Name, Payload, read
from ui.shared.gradio_private import sent_with
from ui.shared.part import html_part
from ui.shared.strings import compare_strings, labels, studio_strings, units
from ui.studio.ladder import picture_props

MOST_ITEMS = 4
LETTERS = "ABCD"
# A pane is named by this many settings at most, each value by this many characters.
_MOST_NAMED, _MOST_CHARACTERS = 2, 28
_REFERENCE = re.compile(r"([A-Za-z0-9_-]{16,64})(?:\.([0-9]{1,2}))?")
# What says nothing of a single stage's picture, or is known from its size.
_NOT_COMPARED = ("overrides", "target", "aspect")


@dataclass(frozen=True, kw_only=True)
class Item:
    """A stage that is compared, and the settings that it was made with, by name."""

    job: RunView
    stage: StageView
    settings: Mapping[str, Any]

    @property
    def reference(self) -> str:
        """Return "job.stage", as the address and the browser name it."""
        return f"{self.job.id}.{self.stage.index}"


def build_compare(jobs: RunQueue, _card: ModelCard, examples: Sequence[str]) -> gr.HTML:
    """Draw the place into the open gradio block; it is filled when it is first entered."""
    return html_part(
        "compare", "compare", compare_props(()), sample=sample_pair(jobs, examples), examples=list(examples)
    )


def sample_pair(jobs: RunQueue, examples: Sequence[str]) -> list[str]:
    """Return the first example's first and last stage, each as "job.stage"; none without examples."""
    for example in examples[:1]:
        with suppress(GspnError):
            stages = [stage for stage in jobs.view(example).stages if stage.proxy_path]
            if len(stages) > 1:
                return [f"{example}.{stage.index}" for stage in (stages[0], stages[-1])]
    return []


def wire_compare(_page: gr.Blocks, parts: dict[str, Any], jobs: RunQueue, _card: ModelCard) -> None:
    """Let the place ask for stages and for the figures of a pair."""
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def bring(event: gr.EventData) -> dict[str, Any]:
        return loaded(jobs, asked_for(sent_with(event)))

    def measure(event: gr.EventData) -> dict[str, Any]:
        references = asked_for(sent_with(event))
        return loaded(jobs, references) | {"pair": measured(jobs, references)}

    part = parts["compare"]
    # Not "load": Gradio tells of that itself when the part is there, and the answer took a link's from it.
    part.bring(bring, None, part, trigger_mode="multiple", **quiet)
    part.measure(measure, None, part, trigger_mode="multiple", **quiet)


class _Compared(Payload):
    """The stages that are compared, each as "run.stage"."""

    items: Annotated[list[Name], Items] = []


def asked_for(sent: Any) -> list[str]:
    """Return the stages that an event names, as many as are compared at most."""
    return [item[:80] for item in read(_Compared, sent).items[:MOST_ITEMS]]


def loaded(jobs: RunQueue, references: Sequence[Any]) -> dict[str, Any]:
    """Return what the place shows of stages named "job.stage"; one that is not there is said and left out.

    asked: what it is the answer to, so that a late answer can be recognised.
    """
    items, said = [], ""
    for reference in references[:MOST_ITEMS]:
        try:
            item = find_item(jobs, reference)
        except GspnError as refusal:
            said = str(refusal)
            continue
        # A run's own link means a stage that may be there already.
        if item.reference not in {other.reference for other in items}:
            items.append(item)
    return compare_props(items, said=said) | {"asked": list(references[:MOST_ITEMS])}


def measured(jobs: RunQueue, references: Sequence[Any]) -> dict[str, Any]:
    """Return the figures of the first two stages, or the sentence why there are none."""
    try:
        one, other = (find_item(jobs, reference) for reference in references[:2])
        figures = jobs.compare((one.job.id, one.stage.index), (other.job.id, other.stage.index))
    except ValueError as refusal:
        # BadSetting is one too, and says itself what is wrong.
        return {"error": str(refusal) if isinstance(refusal, GspnError) else compare_strings.TWO}
    except GspnError as refusal:
        return {"error": str(refusal)}
    return pair_props(figures) | {"items": [one.reference, other.reference]}


def find_item(jobs: RunQueue, reference: Any) -> Item:
    """Return the finished stage that "job.stage" names, the last one for "job"; raise GspnError for none."""
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if match is None:
        raise GspnError(compare_strings.no_stage(str(reference)))
    job = jobs.view(match[1])
    finished = [stage for stage in job.stages if stage.proxy_path]
    if match[2] is not None:
        finished = [stage for stage in finished if stage.index == int(match[2])]
    if not finished:
        raise GspnError(compare_strings.no_stage(reference))
    return Item(job=job, stage=finished[-1], settings=_settings_of(job, finished[-1]))


def compare_props(items: Sequence[Item], *, said: str = "") -> dict[str, Any]:
    """Return the stages, the rows in which they differ and those in which they do not, ready for JSON."""
    rows = [(labels.LABELS[name], [item.settings.get(name) for item in items], name) for name in FIELD_NAMES]
    rows = [row for row in rows if row[2] not in _NOT_COMPARED and any(value is not None for value in row[1])]
    # A first stage that does not read a setting does not differ in it.
    differ = [row for row in rows if len({str(value) for value in row[1] if value is not None}) > 1]
    same = [row for row in rows if row not in differ]
    facts = [
        (compare_strings.ROWS["size"], [units.size(i.stage.height, i.stage.width) for i in items]),
        (compare_strings.ROWS["seconds"], [compare_strings.stage_seconds(i.stage) for i in items]),
        (compare_strings.ROWS["memory"], [units.bytes_(i.stage.peak_bytes) for i in items]),
    ]
    # Of one image all is listed.
    apart = [fact for fact in facts if len(items) == 1 or len(set(fact[1])) > 1]
    alike = [(label, values[0]) for label, values in facts if items and (label, values) not in apart]
    return {
        "items": [
            _item_props(letter, item, name) | {"settings": {row[2]: row[1][index] for row in differ}}
            for index, (letter, item, name) in enumerate(
                zip(LETTERS, items, pane_names(items, differ), strict=False)
            )
        ],
        "differ": [[label, [_shown(v) for v in values]] for label, values, _ in differ],
        "facts": [[label, values] for label, values in apart],
        "same": [
            *([label, _shown(next(v for v in values if v is not None))] for label, values, _ in same),
            *([label, value] for label, value in alike),
        ],
        "pair": None,
        "said": said,
        "asked": [],
    }


def pane_names(items: Sequence[Item], differ: Sequence[tuple[str, Sequence[Any], str]]) -> list[str]:
    """Return what each pane is called: by the settings that differ, and by its size where sizes do.

    Args:
        items: The stages.
        differ: Label, values and name of each setting that differs.
    """
    sizes = [units.size(item.stage.height, item.stage.width) for item in items]
    names = []
    for index, size in enumerate(sizes):
        parts = [f"{label} {_short(values[index])}" for label, values, _ in differ[:_MOST_NAMED]]
        if len(differ) > _MOST_NAMED:
            parts.append(f"+{len(differ) - _MOST_NAMED}")
        if not parts or len(set(sizes)) > 1:
            parts.insert(0, size)
        names.append(", ".join(parts))
    return names


def pair_props(figures: PairFigures) -> dict[str, Any]:
    """Return the figures of a pair and its map of differences as a card that the viewer shows."""
    heat = file_url(figures.heat_path)
    return {
        "psnr": compare_strings.decibels(figures.psnr),
        "ssim": f"{figures.ssim:.3f}",
        "note": compare_strings.compared_at(figures.height, figures.width),
        "scale": compare_strings.heat_scale(figures.heat_top),
        "card": {
            "width": figures.width,
            "height": figures.height,
            "proxy": heat,
            "tiles": None,
            "png": heat,
            "alt": compare_strings.HEAT_ALT,
        },
    }


def _short(value: Any) -> str:
    text = _shown(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1].rstrip()}…"


def _item_props(letter: str, item: Item, name: str) -> dict[str, Any]:
    stage, prompt = item.stage, str(item.job.settings.get("prompt", ""))
    return {
        "ref": item.reference,
        "letter": letter,
        "job": item.job.id,
        "title": units.size(stage.height, stage.width),
        "name": name,
        "prompt": prompt,
        "created": item.job.created,
        "card": picture_props(
            stage, f"{letter}: {studio_strings.picture_alt(prompt, stage.height, stage.width)}"
        ),
    }


def _settings_of(job: RunView, stage: StageView) -> dict[str, Any]:
    """Return a stage's own settings by name, those left out that it does not read."""
    known = {name: value for name, value in job.settings.items() if name in FIELD_NAMES}
    try:
        settings = Settings.from_dict(known)
        own = settings.at_stage((settings.target or 0) * stage.width // job.stages[-1].width).to_dict()
    except BadSetting:
        own = known
    kind = kind_of(stage)
    return {name: value for name, value in own.items() if kind.takes(name) or name not in OVERRIDABLE}


def _shown(value: Any) -> str:
    if value is None:
        return units.UNKNOWN
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and re.fullmatch(r"[0-9]+x[0-9]+-[0-9a-f]{64}", value):
        return compare_strings.start_shown(value)
    return labels.CHOICES.get(value, str(value)) if isinstance(value, str) else str(value)
