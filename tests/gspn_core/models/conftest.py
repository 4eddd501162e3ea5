"""A folder of the tiny model, saved once and copied for each test."""

import shutil

import pytest


@pytest.fixture(scope="session")
def saved(tiny_pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny")
