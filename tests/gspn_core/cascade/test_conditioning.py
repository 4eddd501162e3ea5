import torch

from gspn_core.cascade.conditioning import encode_text, truncation_notice
from gspn_core.plan import Size


def test_the_pair_is_unconditional_first(tiny_pipeline):
    text = encode_text(tiny_pipeline, "a hill", "fog")
    swapped = encode_text(tiny_pipeline, "fog", "a hill")
    assert torch.equal(text.prompt_embeds[0], swapped.prompt_embeds[1])
    assert torch.equal(text.pooled_prompt_embeds[1], swapped.pooled_prompt_embeds[0])
    assert not torch.equal(text.prompt_embeds[0], text.prompt_embeds[1])
    assert torch.equal(text.positive_only().prompt_embeds, text.prompt_embeds[1:])


def test_a_stage_keeps_the_text_and_is_told_its_size_height_first(tiny_pipeline):
    text = encode_text(tiny_pipeline, "a hill", "")
    stage = text.at_size(Size(128, 64))
    assert stage.prompt_embeds is text.prompt_embeds
    assert stage.add_time_ids.tolist() == [[128, 64, 0, 0, 128, 64]] * 2


def test_a_prompt_beyond_the_text_encoders_reach_is_named(tiny_pipeline):
    assert truncation_notice(tiny_pipeline, "a hill") is None
    notice = truncation_notice(tiny_pipeline, "a " * 100)
    assert "100 tokens" in notice
    assert "first 75" in notice
