from __future__ import annotations

import dataclasses
import pickle
from typing import get_args

import pytest
from PIL import Image

from gspn_core.events import Event, PictureDone, Retried, StageDone
from gspn_core.kinds.kind import StageKind


@pytest.fixture
def events(events, plan):
    """Return a cascade's events, and those that a lack of memory and a batch bring."""
    done = next(event for event in events if isinstance(event, StageDone))
    picture = PictureDone(seed=8, done=done)
    return [*events, picture, Retried(stage=1, phase="steps", choice="serial_guidance", plan=plan)]


def plain(value) -> bool:
    """Tell whether a value holds nothing but numbers, text, pictures and records of them.

    A stage's kind holds nothing at all: it is its class.
    """
    if isinstance(value, StageKind):
        return not vars(value)
    if dataclasses.is_dataclass(value):
        return all(plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, tuple):
        return all(map(plain, value))
    return value is None or isinstance(value, (bool, int, float, str, Image.Image))


def test_a_cascade_tells_every_kind_of_event(events):
    assert {type(event) for event in events} == set(get_args(Event))


def test_every_event_is_plain_and_travels_between_processes(events):
    for event in events:
        assert plain(event)
        back = pickle.loads(pickle.dumps(event))
        for field in dataclasses.fields(event):
            was, now = getattr(event, field.name), getattr(back, field.name)
            if isinstance(was, StageDone):
                assert was.image.tobytes() == now.image.tobytes()
                was, now = (dataclasses.replace(done, image=None) for done in (was, now))
            elif isinstance(was, Image.Image):
                was, now = was.tobytes(), now.tobytes()
            assert was == now


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_event_is_frozen_and_takes_its_fields_by_name(kind, events):
    event = next(event for event in events if isinstance(event, kind))
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, name, None)
    with pytest.raises(TypeError):
        kind(getattr(event, name))
