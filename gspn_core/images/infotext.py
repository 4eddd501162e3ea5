"""The text form in which AUTOMATIC1111 and its relatives keep settings: a prompt, then "Name: value" pairs.

Its parts are a prompt, "Negative prompt: ...", and a line "Steps: 20, Sampler: Euler, ..." that other lines
may follow. Some tools write it all on one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_NEGATIVE = "Negative prompt:"
# Names are bounded, or a long line without a colon would take quadratic time.
_NAME = re.compile(r"(?<![\w\-/])(\w[\w \-/+]{0,59}?):[ \t]*")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])*"')
_MOST_PAIRS_CHARACTERS = 32 * 1024
# What counts as a setting, so that a prompt of words and colons does not.
_SETTING = re.compile(
    r"(?:^|(?<=[\s,.;|]))(?:"
    r"(?P<steps>Steps: *\d{1,5})|Seed: *-?\d{1,20}|CFG scale: *\d{1,3}(?:\.\d{1,6})?"
    r"|Size: *\d{1,5} ?[x×] ?\d{1,5}|Sampler: *[\w+ -]{2,40}"
    r"|Model hash: *[0-9a-fA-F]{6,64}|Schedule type: *[\w -]{2,40}"
    r")(?= *(?:,|$|\n))"
)
_STEPS_FIRST = re.compile(r"^Steps: *\d{1,5} *(?:,|$)", re.MULTILINE)
_SETTINGS_FIRST = re.compile(r"(?:Steps|Sampler|CFG scale|Seed|Size|Model|Model hash|VAE|Version):")
_MOST_LINES = 40
_MARK_ENDS = " \t\r\n,;|."


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """A text in its parts. pairs: of the settings; more: the lines after them."""

    prompt: str
    negative_prompt: str = ""
    pairs: dict[str, str] = field(default_factory=dict)
    more: tuple[str, ...] = ()

    @property
    def has_settings(self) -> bool:
        """Return whether there is more than a prompt."""
        return bool(self.pairs)


def parse_infotext(text: str) -> Infotext:
    """Part a text at its marks; all of it is the prompt where it has no settings."""
    # Not splitlines, which splits at more characters than these tools do and would change prompts.
    text = text.replace("\r\n", "\n").strip()
    start = _start_of_settings(text)
    if start is None:
        prompt, negative = _prompts(text, on_one_line=False)
        return Infotext(prompt=prompt, negative_prompt=negative)
    begins_line = start == 0 or text[start - 1] == "\n"
    prompt, negative = _prompts(text[:start], on_one_line=not begins_line)
    line, _, rest = text[start:].partition("\n")
    pairs: dict[str, str] = {}
    for name, value in _pairs(line[:_MOST_PAIRS_CHARACTERS]):
        pairs.setdefault(name, value)
    more = []
    for later in filter(None, map(str.strip, rest.split("\n", _MOST_LINES)[:_MOST_LINES])):
        if _SETTINGS_FIRST.match(later):
            for name, value in _pairs(later[:_MOST_PAIRS_CHARACTERS]):
                pairs.setdefault(name, value)
        else:
            more.append(later)
    return Infotext(prompt=prompt, negative_prompt=negative, pairs=pairs, more=tuple(more))


def _start_of_settings(text: str) -> int | None:
    """Return where the settings begin, None for none.

    That is the last line that begins with a number of steps, else the last with two settings.
    """
    steps = list(_STEPS_FIRST.finditer(text))
    if steps:
        return steps[-1].start()
    negative = text.find(_NEGATIVE)
    end = len(text)
    while end > 0:
        begin = text.rfind("\n", 0, end) + 1
        found = list(_SETTING.finditer(text, begin, end))
        has_steps = any(match["steps"] for match in found)
        if len(found) >= 2 or (has_steps and 0 <= negative < found[0].start()):
            return begin if _SETTINGS_FIRST.match(text, begin) else found[0].start()
        end = begin - 1
    return None


def _prompts(text: str, *, on_one_line: bool) -> tuple[str, str]:
    """Return the prompt and the negative prompt in what stands before the settings."""
    lines = f"\n{text}"
    at = lines.find(f"\n{_NEGATIVE}")
    if at < 0:
        at = lines.find(_NEGATIVE)
    inline = at > 0 and lines[at] != "\n"
    if at < 0:
        prompt, negative = text, ""
    else:
        prompt, negative = lines[:at], lines[at:].lstrip("\n").removeprefix(_NEGATIVE)
    ends = [_MARK_ENDS if inline or (on_one_line and at < 0) else None, _MARK_ENDS if on_one_line else None]
    return prompt.lstrip().rstrip(ends[0]), negative.lstrip().rstrip(ends[1])


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a line; a value in quotes, brackets or braces ends where these do."""
    at = 0
    decoder = json.JSONDecoder()
    while (name := _NAME.search(line, at)) is not None:
        start = name.end()
        end = line.find(",", start)
        end = len(line) if end < 0 else end
        quoted = _QUOTED.match(line, start) if line[start : start + 1] == '"' else None
        if quoted:
            end = quoted.end()
        elif line[start : start + 1] in ("[", "{"):
            try:
                end = decoder.raw_decode(line, start)[1]
            except (ValueError, RecursionError):
                if line[start : start + 2] in ('["', "[{", '{"'):
                    # Cut off: nothing in it is a pair of the picture.
                    end = len(line)
        yield name[1], line[start:end].strip()
        at = end
