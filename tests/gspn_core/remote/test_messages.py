"""What a worker says of itself when it joins, without Ray."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from gspn_core.errors import BadSetting, ModelUnavailable
from gspn_core.remote.actor import EngineActor
from gspn_core.remote.cluster import NO_RAY, Cluster, WorkersAsked
from gspn_core.remote.messages import Facts, Failure, check_facts, opened, versions
from tests.gspn_core.conftest import CARD

FACTS = Facts(
    versions=versions(),
    model=CARD.name,
    fingerprint=CARD.fingerprint,
    machine="a machine",
    timing_key="k",
    host="node-3",
    process_id=1,
)


def test_a_worker_joins_with_the_versions_and_the_files_of_the_server():
    check_facts(FACTS, CARD)
    names = [name for name, _ in versions()]
    assert names == ["the code", "Python", "torch", "diffusers", "transformers"]


@pytest.mark.parametrize("number", range(5))
def test_a_worker_with_another_version_is_refused_by_name(number):
    name, here = FACTS.versions[number]
    other = list(FACTS.versions)
    other[number] = (name, "0.1")
    with pytest.raises(ModelUnavailable) as refused:
        check_facts(dataclasses.replace(FACTS, versions=tuple(other)), CARD)
    assert str(refused.value) == (
        f"The worker on node-3 has 0.1 of {name} and the server {here}; install the same version on both."
    )


@pytest.mark.parametrize("change", [{"model": "another"}, {"fingerprint": "another"}])
def test_a_worker_with_other_files_of_the_model_is_refused(change):
    with pytest.raises(ModelUnavailable, match="The worker on node-3 has other files of the model toy"):
        check_facts(dataclasses.replace(FACTS, **change), CARD)


def test_an_error_travels_as_data_and_is_raised_where_it_arrives():
    sent = pickle.loads(pickle.dumps(Failure(error=BadSetting("target", "target must be less."))))
    with pytest.raises(BadSetting, match="target must be less") as raised:
        opened(sent)
    assert raised.value.field == "target" and opened("an answer") == "an answer"


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr("gspn_core.remote.cluster.has_ray", lambda: False)
    with pytest.raises(ModelUnavailable) as refused:
        Cluster(WorkersAsked(count=2))
    assert str(refused.value) == NO_RAY and "pip install" in NO_RAY


def test_a_worker_whose_model_cannot_be_loaded_says_why(monkeypatch):
    monkeypatch.setattr("gspn_core.remote.actor.send_pictures_whole", lambda: None)

    def missing():
        raise ModelUnavailable("no weights here.")

    def damaged():
        raise ValueError("bad magic")

    assert str(EngineActor(missing).facts().error) == "no weights here."
    assert "could not be loaded (ValueError: bad magic)" in str(EngineActor(damaged).facts().error)
