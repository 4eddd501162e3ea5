r"""Prompts with weights, in the notation that AUTOMATIC1111's users know. Pure text, without torch.

    (word)      1.1 times the weight        (word:1.3)   1.3 times
    [word]      1/1.1 times                 \( \) \[ \]  the brackets themselves
    BREAK       what follows is encoded as a chunk of its own

Brackets nest. One that is never closed lasts to the end of the prompt; a closing one alone is a character.
What is read in another way than its writer may have meant is said: `notices_of`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

_STRONGER = 1.1
# Larger weights make noise of any prompt; negative ones turn it round.
MAX_WEIGHT = 10.0
# Brackets that are deeper change no weight.
MAX_DEPTH = 64
# Chunks of a prompt; every one makes the cross-attention of every step longer.
MAX_PROMPT_CHUNKS = 8
_TOKEN = re.compile(r"\\[\\()\[\]]|[()\[\]\\]|[^\\()\[\]]+")
_BREAK = re.compile(r"\bBREAK\b")
# The end of a text before a closing bracket; the digits are bounded, so that it takes no time.
_WEIGHT = re.compile(r":\s{0,9}([+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}))\s{0,9}\Z")
_LONGEST_WEIGHT = 40
_SQUARE = re.compile(r"\\.|[\[\]|:]", re.DOTALL)
_NUMBER = re.compile(r"\s{0,9}[0-9]{0,9}\.?[0-9]{1,9}\s{0,9}")
# What a prompt can hold that means something to another tool, and is words here.
_MARKUP = {
    "weights in braces": re.compile(r"(?<![\d.])\d{1,9}\.?\d{0,9}::[^:]{1,400}::|\{{2}"),
    "weights after words": re.compile(
        r"\)(?:\d{1,3}\.\d{1,9}(?![\d.])|[+-]{1,9}(?=[\s,)]|\Z))|[a-z]\+{2,9}(?=[\s,)]|\Z)"
    ),
    "weights with a comma": re.compile(r":\s{0,9}\d{1,9},\d{1,9}\s{0,9}\)"),
    "tags": re.compile(
        r"<(?:lora|lyco|lycoris|hypernet|embed|segment|random|wildcard)\b[^<>]{0,400}>", re.IGNORECASE
    ),
    "AND": re.compile(r"(?<!\w)AND(?!\w)"),
    "wildcards": re.compile(r"__[\w/*-]{1,80}__|(?<!\{)\{[^{}|]{0,200}\|[^{}]{0,400}\}"),
    "embeddings": re.compile(r"\bembedding:\w"),
}
_MOST_SEARCHED_CHARACTERS = 4000
# What is said of each of them, and of brackets and weights.
_SAID: Mapping[str, str] = MappingProxyType(
    {
        "weights in braces": "{word} and 1.2::word:: carry no weight here; write (word:1.2).",
        "weights after words": "(word)1.2 and word++ carry no weight of that number here; write (word:1.2).",
        "weights with a comma": "(word:1,2) carries no weight of that number here; write (word:1.2).",
        "prompt editing": "[from:to:0.5] does not change the prompt during a run here; it is read as words.",
        "alternating words": "[one|two] does not alternate here; it is read as words.",
        "tags": "Tags such as <hypernet:name> load nothing here, nor does <lora:name:0.8> but in the prompt.",
        "AND": "AND does not combine prompts here; it is read as a word. BREAK begins a new chunk.",
        "wildcards": "__name__ and {one|two} are not replaced here; they are read as words.",
        "embeddings": "embedding:name loads nothing here; it is read as words.",
        "(": r"A ( is never closed, so its weight lasts to the end; write \( for the character.",
        "[": r"A [ is never closed, so its weight lasts to the end; write \[ for the character.",
        ")": "A ) closes nothing and is read as a character.",
        "]": "A ] closes nothing and is read as a character.",
        "weight": f"Weights count as at most {MAX_WEIGHT:g} and at least −{MAX_WEIGHT:g}.",
        "depth": f"Brackets more than {MAX_DEPTH} deep change no weight.",
    }
)


class Part(NamedTuple):
    """A piece of a prompt and its weight; None for the text stands for BREAK."""

    text: str | None
    weight: float


@dataclass(frozen=True, kw_only=True)
class TextLength:
    """How much of a text the model reads.

    Args:
        name: of the setting: prompt or negative_prompt.
        stage_px: the stage whose override it is, 0 for the run's own.
        tokens: without start, end and padding; of the tokenizer that counts most.
        chunks: how many of `room` tokens it takes.
        room: tokens of a chunk.
        notices: sentences of what is read in another way than it may be meant.
    """

    name: str
    stage_px: int
    tokens: int
    chunks: int
    room: int
    notices: tuple[str, ...] = ()

    @property
    def is_cut(self) -> bool:
        """Return whether it has more chunks than are read."""
        return self.chunks > MAX_PROMPT_CHUNKS

    @property
    def title(self) -> str:
        """Return what the text is called in messages."""
        name = self.name.replace("_", " ").capitalize()
        return f"{name} at {self.stage_px} px" if self.stage_px else name

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return the notices, each with the text's name."""
        return tuple(f"{self.title}: {notice}" for notice in self.notices)


def parse_weights(prompt: str) -> tuple[Part, ...]:
    """Return the parts of a prompt in order, neighbours of equal weight as one; () for an empty prompt.

    Weights are kept between -MAX_WEIGHT and MAX_WEIGHT.
    """
    return _read(prompt)[0]


def _read(prompt: str) -> tuple[tuple[Part, ...], _Brackets]:
    """Return the parts of a prompt and what is known of its brackets."""
    tokens = _TOKEN.findall(prompt)
    brackets = _brackets(tokens)
    runs: list[tuple[list[str] | None, float]] = []
    # The products of the brackets that are open; round and square ones may overlap.
    products = {"(": [1.0], "[": [1.0]}
    weight: float | None = 1.0
    for place, token in enumerate(tokens):
        if place in brackets.opened:
            products[token].append(products[token][-1] * brackets.opened[place])
            weight = None
        elif place in brackets.closed:
            products[brackets.closed[place]].pop()
            weight = None
        else:
            if weight is None:
                product = round(products["("][-1] * products["["][-1], 6)
                weight = _kept(product)
                if weight != product:
                    brackets.beyond.add("weight")
            _add(runs, _characters(token, brackets.ends.get(place)), weight)
    return tuple(Part(None if pieces is None else "".join(pieces), each) for pieces, each in runs), brackets


def _characters(token: str, end: int | None) -> str:
    """Return the characters that a token other than a bracket stands for."""
    return token[1:] if token[0] == "\\" and len(token) == 2 else token[:end]


def _add(runs: list[tuple[list[str] | None, float]], text: str, weight: float) -> None:
    """Add a text to the last run if that has its weight, and None for each BREAK in it."""
    for number, piece in enumerate(_BREAK.split(text)):
        if number:
            runs.append((None, 1.0))
        if runs and runs[-1][0] is not None and runs[-1][1] == weight:
            runs[-1][0].append(piece)
        elif piece:
            runs.append(([piece], weight))


class _Brackets(NamedTuple):
    """The brackets of a prompt by their places among its tokens.

    opened: the factor of each opening one; closed: the kind of each closing one. ends: how much of a text is
    left without the weight at its end. odd: those without a partner, in order; beyond: what is too large.
    """

    opened: dict[int, float]
    closed: dict[int, str]
    ends: dict[int, int]
    odd: list[str]
    beyond: set[str]


def _brackets(tokens: list[str]) -> _Brackets:
    found = _Brackets({}, {}, {}, [], set())
    waiting: dict[str, list[int]] = {"(": [], "[": []}
    for place, token in enumerate(tokens):
        if token in waiting:
            is_deep = len(waiting[token]) >= MAX_DEPTH
            if is_deep:
                found.beyond.add("depth")
            found.opened[place] = 1.0 if is_deep else _STRONGER if token == "(" else 1 / _STRONGER
            waiting[token].append(place)
        elif token in (")", "]"):
            kind = "(" if token == ")" else "["
            if not waiting[kind]:
                found.odd.append(token)
                continue
            found.closed[place] = kind
            start = waiting[kind].pop()
            before = tokens[place - 1]
            weight = _WEIGHT.search(before[-_LONGEST_WEIGHT:]) if token == ")" else None
            if weight is None:
                continue
            found.ends[place - 1] = max(0, len(before) - _LONGEST_WEIGHT) + weight.start()
            if abs(float(weight[1])) > MAX_WEIGHT:
                found.beyond.add("weight")
            if len(waiting[kind]) < MAX_DEPTH:
                found.opened[start] = _kept(float(weight[1]))
    found.odd.extend(kind for kind, places in waiting.items() if places)
    return found


def _kept(weight: float) -> float:
    return min(MAX_WEIGHT, max(-MAX_WEIGHT, weight))


def plain_text(prompt: str) -> str:
    """Return a prompt without weights, brackets and BREAK."""
    return " ".join("".join(part.text or " " for part in parse_weights(prompt)).split())


def is_weighted(prompt: str) -> bool:
    """Return whether a prompt has brackets or BREAK, so that it is not encoded as it stands."""
    return any(character in prompt for character in "()[]\\") or "BREAK" in prompt


def markup_in(*texts: str) -> tuple[str, ...]:
    """Return what of other tools' prompt syntax is in these texts."""
    searched = [text[:_MOST_SEARCHED_CHARACTERS] for text in texts]
    found = [name for name, pattern in _MARKUP.items() if any(map(pattern.search, searched))]
    return (*found, *sorted(set().union(*map(_square_markup, searched))))


def _square_markup(text: str) -> set[str]:
    """Return what square brackets mean to other tools where they hold a bar, or end with a number."""
    found: set[str] = set()
    # For each open one: whether it holds a bar, and where its last colon ends.
    opened: list[tuple[bool, int]] = []
    for match in _SQUARE.finditer(text):
        mark = match[0]
        if mark == "[":
            opened.append((False, -1))
        elif not opened or mark[0] == "\\":
            continue
        elif mark == "]":
            has_bar, colon = opened.pop()
            if has_bar:
                found.add("alternating words")
            elif colon >= 0 and _NUMBER.fullmatch(text, colon, match.start()):
                found.add("prompt editing")
        else:
            has_bar, colon = opened[-1]
            opened[-1] = (has_bar or mark == "|", match.end() if mark == ":" else colon)
    return found


def notices_of(prompt: str) -> tuple[str, ...]:
    """Return a sentence for each thing in a prompt that is read in another way than it may be meant."""
    brackets = _read(prompt)[1]
    names = dict.fromkeys((*markup_in(prompt), *brackets.odd, *sorted(brackets.beyond)))
    return tuple(_SAID[name] for name in names)
