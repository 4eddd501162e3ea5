import pytest
import torch
from transformers import CLIPTokenizer

from gspn_core.backbones.chunks import chunks_of, encode_chunks
from gspn_core.backbones.conditioning import encode_text
from gspn_core.models.catalog import WORLD_FOLDER
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


def test_a_crop_adds_its_offset_and_is_the_target(tiny_pipeline):
    own = Settings(prompt="a", original_scale=2.0, target_scale=0.5, crop_top=8, crop_left=16)
    stage = encode_text(tiny_pipeline, "a hill", "").at_size(Size(128, 64), own)
    crop = stage.at_crop(32, 8, Size(48, 40), own)
    assert crop.add_time_ids.tolist() == [[256, 128, 40, 24, 24, 20]] * 2
    assert stage.add_time_ids.tolist() == [[256, 128, 8, 16, 64, 32]] * 2
    assert crop.prompt_embeds is stage.prompt_embeds


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


def test_a_short_prompt_without_weights_is_encoded_as_diffusers_does(tiny_pipeline):
    theirs = encode_text(tiny_pipeline, "a hill", "fog")
    embeds, pooled = encode_chunks(tiny_pipeline, ("fog", "a hill"), torch.device("cpu"))
    torch.testing.assert_close(embeds, theirs.prompt_embeds)
    torch.testing.assert_close(pooled, theirs.pooled_prompt_embeds)


def test_a_long_prompt_is_encoded_to_its_end_in_chunks(tiny_pipeline):
    long = "a b " * 50
    text = encode_text(tiny_pipeline, long + "c", "fog", zeros_for_empty=False)
    other = encode_text(tiny_pipeline, long + "d", "fog", zeros_for_empty=False)
    assert text.prompt_embeds.shape[1] == 2 * 77
    first = slice(0, 77)
    torch.testing.assert_close(text.prompt_embeds[1, first], other.prompt_embeds[1, first])
    assert not torch.equal(text.prompt_embeds, other.prompt_embeds)
    alone = encode_text(tiny_pipeline, "a b " * 37 + "a", "")
    torch.testing.assert_close(text.prompt_embeds[1, first], alone.prompt_embeds[1])
    torch.testing.assert_close(text.pooled_prompt_embeds[1], alone.pooled_prompt_embeds[1])


def test_an_empty_negative_prompt_stays_zero_at_any_length(tiny_pipeline):
    text = encode_text(tiny_pipeline, "a " * 100, "")
    assert text.prompt_embeds.shape[1] == 2 * 77
    assert not text.prompt_embeds[0].any() and not text.pooled_prompt_embeds[0].any()


def test_a_weight_scales_its_tokens_and_keeps_the_mean_magnitude(tiny_pipeline):
    plain, strong, one = (
        encode_text(tiny_pipeline, prompt, "").prompt_embeds[1]
        for prompt in ("a hill fog", "a (hill:1.5) fog", "a (hill:1.0) fog")
    )
    assert torch.allclose(plain, one, atol=1e-6) and not torch.allclose(plain, strong, atol=1e-3)
    width = plain.shape[1] // 2
    for half in (slice(0, width), slice(width, None)):
        torch.testing.assert_close(plain[:, half].abs().mean(), strong[:, half].abs().mean())
        ratio = strong[:, half] / plain[:, half]
        # Tokens: the start, a, hill's four letters, fog's three.
        torch.testing.assert_close(ratio[2], ratio[0] * 1.5, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(ratio[1], ratio[0], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("weight", [-10, -1, 0, 0.3, 5, 10])
def test_no_weight_turns_or_enlarges_the_tokens_without_one(tiny_pipeline, weight):
    plain = encode_text(tiny_pipeline, "a hill fog", "").prompt_embeds[1]
    found = encode_text(tiny_pipeline, f"a (hill:{weight}) fog", "").prompt_embeds[1]
    ratio = (found / plain)[0]
    assert found.isfinite().all() and ratio.min() > 0 and ratio.max() < 1.2


def reference(tokenizer, encoder, rows):
    """The states of rows of chunks of (word, weight), one chunk at a time with transformers itself."""
    states, pooled = [], []
    for chunks in rows:
        row = []
        for chunk in chunks:
            ids, weights = [tokenizer.bos_token_id], [1.0]
            for word, weight in chunk:
                own = tokenizer(word, add_special_tokens=False).input_ids
                ids, weights = ids + own, weights + [weight] * len(own)
            ids = torch.tensor([ids + [tokenizer.eos_token_id] * (77 - len(ids))])
            output = encoder(ids, output_hidden_states=True)
            hidden = output.hidden_states[-2][0].double()
            weighted = hidden * torch.tensor(weights + [1.0] * (77 - len(weights))).double()[:, None]
            row.append((weighted * hidden.abs().sum() / weighted.abs().sum()).float())
            if len(row) == 1:
                pooled.append(output[0][0])
        states.append(torch.cat(row))
    return torch.stack(states), torch.stack(pooled)


@pytest.mark.parametrize(
    ("prompt", "chunks"),
    [
        ("a (hill:1.3) fog", [[("a", 1), ("hill", 1.3), ("fog", 1)]]),
        ("[a] ((hill)) (fog:0)", [[("a", 1 / 1.1), ("hill", 1.21), ("fog", 0)]]),
        ("a hill BREAK (fog:2)", [[("a", 1), ("hill", 1)], [("fog", 2)]]),
        ("a " * 80, [[("a", 1)] * 75, [("a", 1)] * 5]),
        (
            "a " * 70 + "(" + "b " * 90 + ":0.7)",
            [[("a", 1)] * 70 + [("b", 0.7)] * 5, [("b", 0.7)] * 75, [("b", 0.7)] * 10],
        ),
        (r"(a \(b\):1.2)", [[("a", 1.2), ("(", 1.2), ("b", 1.2), (")", 1.2)]]),
    ],
)
def test_embeddings_are_those_of_a_plain_loop_over_chunks(tiny_pipeline, prompt, chunks):
    negative = [[("fog", 1)]]
    negative += [[]] * (len(chunks) - 1)
    text = encode_text(tiny_pipeline, prompt, "fog")
    pairs = (
        (tiny_pipeline.tokenizer, tiny_pipeline.text_encoder),
        (tiny_pipeline.tokenizer_2, tiny_pipeline.text_encoder_2),
    )
    (one, _), (two, pooled) = (reference(*pair, (negative, chunks)) for pair in pairs)
    torch.testing.assert_close(text.prompt_embeds, torch.cat([one, two], dim=-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(text.pooled_prompt_embeds, pooled, atol=1e-5, rtol=1e-5)
    refined = text.for_refiner(Size(64, 64), Settings(prompt="a"), 16).prompt_embeds
    torch.testing.assert_close(refined, two, atol=1e-5, rtol=1e-5)


def test_a_chunk_ends_at_a_comma_and_break_begins_one():
    class Letters:
        model_max_length, unk_token_id = 12, -1

        def __call__(self, text, **_):
            return type("Ids", (), {"input_ids": [ord(c) for c in text if c != " "]})

        def convert_tokens_to_ids(self, _):
            return ord(",")

    def found(prompt):
        return ["".join(map(chr, chunk.tokens)) for chunk in chunks_of(Letters(), prompt)]

    assert found("abcdefg,hijklm") == ["abcdefg,", "hijklm"]
    assert found("abcdefghijklm") == ["abcdefghij", "klm"]
    assert found("ab BREAK cd") == ["ab", "cd"] and found("") == [""] and found("BREAK") == [""]
    weights = [chunk.weights for chunk in chunks_of(Letters(), "abcdefg,(hijklm:2)")]
    assert weights == [[1.0] * 8, [2.0] * 6]


def test_a_prompt_of_too_many_chunks_is_cut(tiny_pipeline):
    assert encode_text(tiny_pipeline, "a BREAK " * 40, "").prompt_embeds.shape[1] == 8 * 77


def test_a_comma_is_looked_for_in_the_last_twenty_tokens():
    tokenizer = CLIPTokenizer.from_pretrained(WORLD_FOLDER / "tokenizer")

    def lengths(words, after):
        text = "snow " * words + ", " + "lake " * after
        return [len(chunk.tokens) for chunk in chunks_of(tokenizer, text)]

    assert lengths(54, 30) == [55, 30]
    assert lengths(53, 30) == [75, 9]
    assert lengths(74, 30) == [75, 30]
    assert lengths(75, 30) == [75, 31]
