"""A batch on the page: its pictures in a row, and what is shown of it while it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.run import RunView
from ui.guard.files import file_url
from ui.shared.strings import batch_strings


def pictures_of(value: Any) -> int:
    """Return how many pictures a field asks for; raise BadSetting for what is not a whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise BadSetting("pictures", batch_strings.NOT_A_COUNT)
    return int(value)


def followed(jobs: RunQueue, job_id: str, visitor: str) -> Iterator[tuple[RunView, tuple[RunView, ...]]]:
    """Yield what to show of a run, and the pictures of its batch, until all of them have ended.

    A run that goes on gives way to the next picture of its batch when it ends; one that has ended stays.
    """
    moves, current = not jobs.view(job_id).is_final, job_id
    while True:
        batch: tuple[RunView, ...] = ()
        with closing(jobs.follow(current)) as views:
            for view in views:
                shown = view if moves or view.id == job_id else jobs.view(job_id)
                batch = jobs.batches.views(view, visitor)
                if view.is_final and view.picture and live_in(batch) is not None:
                    break
                yield shown, batch
        following = live_in(batch)
        if following is None:
            return
        current = following.id
        if not moves:
            yield jobs.view(job_id), batch


def live_in(batch: Sequence[RunView]) -> RunView | None:
    """Return the first picture of a batch that is not drawn yet, None if all have ended."""
    return next((view for view in batch if not view.is_final), None)


def leading(view: RunView, batch: Sequence[RunView]) -> RunView:
    """Return the run that Run and Stop are about: the one on the screen, or one of its batch that goes on."""
    return (live_in(batch) or view) if view.is_final else view


def batch_props(view: RunView, batch: Sequence[RunView]) -> list[dict[str, Any]]:
    """Return the pictures of a run's batch as batch.js shows them; none for a single one.

    view: the run on the screen, a picture of the batch or a run that goes on from one.
    """
    if len(batch) < 2:
        return []
    return [
        {
            "job": one.id,
            "state": one.state,
            "source": _source(one),
            "width": one.stages[0].width if one.stages else 1,
            "height": one.stages[0].height if one.stages else 1,
            "label": batch_strings.picture(one.picture, len(batch), _noise(one), one.state),
            "said": batch_strings.STATES.get(one.state, ""),
            "shown": one.id == view.id or (not view.picture and _noise(one) == _noise(view)),
        }
        for one in batch
    ]


def _noise(view: RunView) -> tuple[int | None, int | None]:
    """Return a run's seed, and its variation seed where that has a part in it."""
    own = view.settings
    return own.get("seed"), own.get("variation_seed") if own.get("variation_strength") else None


def _source(view: RunView) -> str | None:
    drawn = view.stages[0].proxy_path if view.stages else None
    return file_url(drawn) if drawn else view.preview
