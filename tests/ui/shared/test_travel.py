import pytest

from gspn_core.settings import RANGES
from ui.form.form import SHOWN
from ui.shared.travel import travel_props


def test_every_slider_shown_first_moves_by_travel() -> None:
    assert set(travel_props()) == set(SHOWN) & set(RANGES) - {"target"}


@pytest.mark.parametrize("name", travel_props())
def test_the_stops_ascend_from_end_to_end_on_the_sliders_steps(name: str) -> None:
    bounds, slider = RANGES[name], travel_props()[name]
    stops = slider["stops"]
    assert (stops[0], stops[-1]) == (bounds.minimum, bounds.maximum)
    assert stops == sorted(set(stops))
    steps = [(stop - bounds.minimum) / slider["step"] for stop in stops]
    assert steps == pytest.approx(list(map(round, steps)))
