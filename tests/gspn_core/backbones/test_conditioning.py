import torch

from gspn_core.backbones.conditioning import encode_text, truncation_notice, truncation_notices
from gspn_core.planning.types import Size
from gspn_core.settings import Settings


def test_the_pair_is_unconditional_first(tiny_pipeline):
    text = encode_text(tiny_pipeline, "a hill", "fog")
    swapped = encode_text(tiny_pipeline, "fog", "a hill")
    assert torch.equal(text.prompt_embeds[0], swapped.prompt_embeds[1])
    assert torch.equal(text.pooled_prompt_embeds[1], swapped.pooled_prompt_embeds[0])
    assert not torch.equal(text.prompt_embeds[0], text.prompt_embeds[1])
    assert torch.equal(text.positive_only().prompt_embeds, text.prompt_embeds[1:])


def test_a_stage_keeps_the_text_and_gets_its_size_height_first(tiny_pipeline):
    text = encode_text(tiny_pipeline, "a hill", "")
    stage = text.at_size(Size(128, 64))
    assert stage.prompt_embeds is text.prompt_embeds
    assert stage.add_time_ids.tolist() == [[128, 64, 0, 0, 128, 64]] * 2


def test_a_stage_gets_the_sizes_and_the_crop_of_its_settings(tiny_pipeline):
    text = encode_text(tiny_pipeline, "a hill", "")
    own = Settings(prompt="a", original_scale=2.0, target_scale=0.5, crop_top=8, crop_left=16)
    assert text.at_size(Size(128, 64), own).add_time_ids.tolist() == [[256, 128, 8, 16, 64, 32]] * 2
    assert torch.equal(
        text.at_size(Size(128, 64), Settings(prompt="a")).add_time_ids,
        text.at_size(Size(128, 64)).add_time_ids,
    )


def test_the_refiner_reads_the_second_encoder_alone_and_scores(tiny_pipeline):
    text = encode_text(tiny_pipeline, "a hill", "")
    own = Settings(prompt="a", aesthetic_score=7.0, negative_aesthetic_score=2.0, crop_top=8)
    refined = text.for_refiner(Size(128, 64), own, 16)
    assert torch.equal(refined.prompt_embeds, text.prompt_embeds[..., 16:])
    assert refined.add_time_ids.tolist() == [[128, 64, 8, 0, 2.0], [128, 64, 8, 0, 7.0]]
    assert refined.pooled_prompt_embeds is text.pooled_prompt_embeds


def test_an_empty_negative_prompt_is_zeros_only_where_the_model_was_trained_so(tiny_pipeline):
    zeros = encode_text(tiny_pipeline, "a hill", "")
    encoded = encode_text(tiny_pipeline, "a hill", "", zeros_for_empty=False)
    assert not zeros.prompt_embeds[0].any()
    assert encoded.prompt_embeds[0].any()
    assert torch.equal(zeros.prompt_embeds[1], encoded.prompt_embeds[1])


def test_a_prompt_beyond_the_text_encoders_reach_is_named(tiny_pipeline):
    assert truncation_notice(tiny_pipeline, "a hill") is None
    notice = truncation_notice(tiny_pipeline, "a " * 100)
    assert "100 tokens" in notice
    assert "first 75" in notice


def test_every_text_that_is_cut_is_named(tiny_pipeline):
    long = "a " * 100
    settings = Settings(
        prompt="a hill",
        negative_prompt=long,
        overrides=f"128.prompt={long}; 256.negative_prompt={long}; 256.prompt=a lake",
    )
    named = [notice.split(" has ")[0] for notice in truncation_notices(tiny_pipeline, settings)]
    assert named == ["The negative prompt", "The prompt at 128 px", "The negative prompt at 256 px"]
    assert truncation_notices(tiny_pipeline, Settings(prompt="a hill")) == ()
