"""What of a prompt is read: tokens, chunks and notices, and without a trace in the tokenizers of a run."""

import threading

import pytest

from gspn_core.backbones.chunks import chunks_of
from gspn_core.backbones.conditioning import encode_text
from gspn_core.backbones.prompt_reader import PromptReader
from gspn_core.engine import Engine
from gspn_core.prompts import MAX_PROMPT_CHUNKS
from gspn_core.settings import Settings


@pytest.fixture
def reader(tiny_pipeline):
    return PromptReader(tiny_pipeline)


def test_each_text_is_counted_by_the_name_of_its_setting(reader):
    settings = Settings(
        prompt="a hill", negative_prompt="b " * 83, overrides="128.prompt=fog BREAK fog\n64.negative_prompt=a"
    )
    found = [(text.name, text.stage_px, text.tokens, text.chunks) for text in reader.lengths(settings)]
    assert found == [
        ("prompt", 0, 5, 1),
        ("negative_prompt", 0, 83, 2),
        ("negative_prompt", 64, 1, 1),
        ("prompt", 128, 6, 2),
    ]


@pytest.mark.parametrize("prompt", ["a", "a " * 75, "a " * 76, "(a:1.2) [b]", "a BREAK b", "a BREAK " * 30])
def test_what_is_counted_is_what_is_encoded(reader, tiny_pipeline, prompt):
    rows = encode_text(tiny_pipeline, prompt, "").prompt_embeds.shape[1]
    assert rows == 77 * reader.chunks(prompt, "")


def test_a_text_that_is_cut_says_so(reader):
    (cut, fits) = reader.lengths(Settings(prompt="a " * 601, negative_prompt="a BREAK " * 8))
    assert cut.is_cut and not fits.is_cut and fits.notices == ()
    assert cut.sentences == (
        f"Prompt: 9 chunks of at most 75 tokens, of which the model reads the first {MAX_PROMPT_CHUNKS}; "
        "the rest has no effect.",
    )


def test_counting_leaves_the_tokenizers_of_a_run_alone(reader, tiny_pipeline):
    long, found, stop = "a " * 600, set(), threading.Event()

    def count() -> None:
        while not stop.is_set():
            reader._counted.cache_clear()
            found.add(reader.chunks(long))

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            ids = tiny_pipeline.tokenizer(
                long, padding="max_length", max_length=77, truncation=True
            ).input_ids
            assert len(ids) == 77
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert found == {MAX_PROMPT_CHUNKS}
    assert len(chunks_of(tiny_pipeline.tokenizer, long)) == 8


def test_a_plan_has_the_texts_their_notices_and_the_chunks_of_each_stage(tiny_model):
    plan = Engine(tiny_model).plan(
        Settings(
            prompt="a (hill",
            negative_prompt="b " * 80,
            target=128,
            seed=1,
            overrides="128.prompt=" + "a " * 160,
        )
    )
    assert [stage.text_chunks for stage in plan.stages] == [2, 3]
    assert [text.chunks for text in plan.texts] == [1, 2, 3]
    assert any(notice.startswith("Prompt: A ( is never closed") for notice in plan.notices)
    short = Engine(tiny_model).plan(Settings(prompt="a hill", target=128, seed=1))
    assert [stage.text_chunks for stage in short.stages] == [1, 1]


def test_stages_with_texts_of_different_lengths_are_drawn(tiny_model):
    engine = Engine(tiny_model)
    asked = {"prompt": "a hill", "target": 128, "seed": 1, "num_inference_steps": 2}
    overrides = "128.prompt=" + "(a b:1.2) " * 60
    done = [
        event.image
        for event in engine.run(engine.plan(Settings(**asked, overrides=overrides)))
        if type(event).__name__ == "StageDone"
    ]
    assert [image.size for image in done] == [(64, 64), (128, 128)]
