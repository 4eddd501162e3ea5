"""Prompts with weights: their notation, and what of other programs is not understood."""

import time

import pytest

from gspn_core.prompts import (
    MAX_DEPTH,
    MAX_WEIGHT,
    TextLength,
    is_weighted,
    markup_in,
    notices_of,
    parse_weights,
    plain_text,
)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", []),
        ("a hill", [("a hill", 1)]),
        ("a (hill)", [("a ", 1), ("hill", 1.1)]),
        ("a ((hill))", [("a ", 1), ("hill", 1.21)]),
        ("a [hill]", [("a ", 1), ("hill", 0.909091)]),
        ("a (hill:1.3) b", [("a ", 1), ("hill", 1.3), (" b", 1)]),
        ("(a (hill:2) b)", [("a ", 1.1), ("hill", 2.2), (" b", 1.1)]),
        ("(hill: .5 )", [("hill", 0.5)]),
        ("(hill:-1)", [("hill", -1)]),
        ("(hill:0)", [("hill", 0)]),
        (r"a \(hill\)", [("a (hill)", 1)]),
        (r"a \\ b", ["a \\ b"]),
        (r"(a \[b\]:2)", [("a [b]", 2)]),
        ("a (hill", [("a ", 1), ("hill", 1.1)]),
        ("a [hill", [("a ", 1), ("hill", 0.909091)]),
        ("a ) hill ]", [("a ) hill ]", 1)]),
        ("a: b :c", [("a: b :c", 1)]),
        ("12:30 (a:b)", [("12:30 ", 1), ("a:b", 1.1)]),
        ("a:1.5) b", [("a:1.5) b", 1)]),
        ("(a, b:1.2), c", [("a, b", 1.2), (", c", 1)]),
        ("([hill])", [("hill", 1)]),
        ("a BREAK (b:2)", [("a ", 1), (None, 1), (" ", 1), ("b", 2)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
        ("(hill:99)", [("hill", MAX_WEIGHT)]),
        ("山(川:1.5)", [("山", 1), ("川", 1.5)]),
        ("()", []),
        ("(:1.3)", []),
        ("(((hill)))", [("hill", 1.331)]),
        ("[[hill]]", [("hill", 0.826446)]),
        ("(hill)(lake)", [("hilllake", 1.1)]),
        ("((hill:1.2) lake:1.5)", [("hill", 1.8), (" lake", 1.5)]),
        ("(a [b (c:2)] d:0.5)", [("a ", 0.5), ("b ", 0.454545), ("c", 0.909091), (" d", 0.5)]),
        ("(hill:1.)", [("hill", 1)]),
        ("(hill:+1.5)", [("hill", 1.5)]),
        ("(hill :1.5)", [("hill ", 1.5)]),
        ("(hill:1.5 )lake", [("hill", 1.5), ("lake", 1)]),
        ("(hill:1,5)", [("hill:1,5", 1.1)]),
        ("(hill:high)", [("hill:high", 1.1)]),
        ("(hill:1.2:1.3)", [("hill:1.2", 1.3)]),
        ("(hill:1e3)", [("hill:1e3", 1.1)]),
        ("(hill:1234567890)", [("hill:1234567890", 1.1)]),
        ("[hill:0.5]", [("hill:0.5", 0.909091)]),
        ("[hill:lake:0.5]", [("hill:lake:0.5", 0.909091)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 0.909091)]),
        (r"\(a:1.5\)", [("(a:1.5)", 1)]),
        (r"(a\):1.5)", [("a)", 1.5)]),
        (r"a \\(b)", [("a \\", 1), ("b", 1.1)]),
        (r"a\b", [(r"a\b", 1)]),
        ("(a BREAK b:1.5)", [("a ", 1.5), (None, 1), (" b", 1.5)]),
        ("BREAK a BREAK", [(None, 1), (" a ", 1), (None, 1)]),
        ("aBREAK BREAKb break", [("aBREAK BREAKb break", 1)]),
        ("(" * 30 + "a" + ")" * 30, [("a", MAX_WEIGHT)]),
        ("(" * 70 + "a" + ")" * 69 + ":0)", [("a", 0)]),
        ("a, b\n(c)\td", [("a, b\n", 1), ("c", 1.1), ("\td", 1)]),
        ("{a} <b> __c__", [("{a} <b> __c__", 1)]),
    ],
)
def test_the_notation(prompt, parts):
    wanted = [(part, 1) if isinstance(part, str) else part for part in parts]
    found = [(part.text, part.weight) for part in parse_weights(prompt)]
    assert found == [(text, pytest.approx(weight)) for text, weight in wanted]


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [("a (hill:1.3), [fog]", "a hill, fog"), ("a BREAK b", "a b"), (r"a \(b\)", "a (b)"), ("a  b", "a b")],
)
def test_the_words_without_their_weights(prompt, plain):
    assert plain_text(prompt) == plain


def test_a_prompt_without_brackets_is_as_it_stands():
    assert not is_weighted("a hill, fog: 12:30 BREAD") and is_weighted("a (hill)") and is_weighted("a BREAK")


def test_plain_prompts_have_no_other_notation():
    plain = "a hill, AND_ [fog] <b> snake_case the SAND (sail:1.2) BREAK [a (b:1.2)] A+ f(x)2 12:30"
    assert markup_in(plain) == () and notices_of(plain) == ()


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("[cat|dog]", "alternating words"),
        ("[a [b]|(c:1.1)]", "alternating words"),
        ("[cat:dog:0.5]", "prompt editing"),
        ("[cat::10]", "prompt editing"),
        ("[(cat:1.2):dog [x]: .5 ]", "prompt editing"),
        ("a AND b", "AND"),
        ("__colour__ sail", "wildcards"),
        ("{red|blue} sail", "wildcards"),
        ("embedding:bad", "embeddings"),
        ("{{sail}}", "weights in braces"),
        ("1.3::sail:: sea", "weights in braces"),
        ("(sail)1.3", "weights after words"),
        ("sail++, sea", "weights after words"),
        ("(sail:1,3)", "weights with a comma"),
    ],
)
def test_what_other_programs_mean_is_named_and_said_in_one_sentence(prompt, found):
    assert markup_in(prompt) == (found,)
    (said,) = notices_of(prompt)
    assert said.endswith(".") and " here" in said


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a (hill", "A ( is never closed"),
        ("a [hill", "A [ is never closed"),
        ("hill :)", "A ) closes nothing"),
        ("hill]", "A ] closes nothing"),
        ("(hill:11)", "Weights count as at most 10 "),
        ("((hill:4):-4)", "Weights count as at most 10 and at least −10"),
        ("(" * 26 + "a" + ")" * 26, "Weights count as at most 10 "),
        ("(" * (MAX_DEPTH + 1) + "a:1)" + ":0)" * MAX_DEPTH, f"Brackets more than {MAX_DEPTH} deep"),
    ],
)
def test_brackets_without_a_partner_and_weights_beyond_the_range_are_said(prompt, said):
    (notice,) = notices_of(prompt)
    assert notice.startswith(said)


def test_each_notice_is_said_once():
    assert len(notices_of("a) b) [c|d] [e|f] (g (h (i")) == 3
    assert notices_of(r"a \(b\) \[c|d\] \[e:f:0.5\]") == ()


def test_a_text_is_named_by_its_setting_and_stage():
    length = TextLength(
        name="negative_prompt", stage_px=1024, tokens=3, chunks=1, room=75, notices=("A ) closes nothing.",)
    )
    assert length.sentences == ("Negative prompt at 1024 px: A ) closes nothing.",)


HOSTILE = ("(", "[", "()", "([", ":", "(a:1", "(a:1)", "a)", "\\", "\\(", "[a:", "[|", "1::", "<lora:", "__a")
HOSTILE += ("{a|", "[:0", "0", "B", "BREAK ", "[a:]", "((a)[b]", ": ", "a,", ")1.", "[a:1]")


@pytest.mark.parametrize("piece", HOSTILE)
def test_16_kb_of_anything_are_read_in_50_ms(piece):
    text = (piece * 16384)[:16384]
    # The fastest of a few, and this thread's own time: the machine may have other work.
    spent = []
    for _ in range(5):
        began = time.thread_time()
        parse_weights(text)
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.05
    began = time.thread_time()
    notices_of(text)
    assert time.thread_time() - began < 0.25
