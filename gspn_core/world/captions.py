"""Say what a scene shows, and know which words the world can say."""

import re

import numpy as np

from gspn_core.world.scene import Scene, sample_scene

EXAMPLES: tuple[str, ...] = (
    "snowy mountains over a lake at dusk, a few clouds, low sun",
    "a full moon over pine trees and snowy peaks at night, starry sky",
    "sand dunes in the desert at sunset, clear sky, setting sun",
    "green hills behind a meadow of flowers by day, scattered clouds",
    "red rock mountains reflected in still water at dawn, rising sun",
    "rocky mountains behind tall pines at dusk, glowing clouds",
    "golden dunes beside a calm lake at night, bright moon, clear sky",
    "lush green mountains mirrored in a lake at sunrise, clear sky",
)

_TIMES = {
    "dawn": ("at dawn", "at sunrise", "in the early morning", "in soft morning light"),
    "day": ("by day", "at noon", "in daylight", "on a bright day"),
    "dusk": ("at dusk", "at sunset", "in the evening", "in warm evening light"),
    "night": ("at night", "by night", "on a dark night", "at midnight"),
}
_SKIES = {
    "clear": ("clear sky", "a clear sky", "cloudless sky", "no clouds"),
    "cloudy": ("a few clouds", "cloudy sky", "clouds", "scattered clouds", "a sky with clouds"),
}
# What the sky may be called only at a certain time.
_SKIES_AT = {
    ("clear", "day"): ("blue sky", "clear blue sky"),
    ("clear", "dusk"): ("orange sky", "purple sky"),
    ("clear", "dawn"): ("pink sky", "pastel sky"),
    ("clear", "night"): ("starry sky", "many stars", "bright stars"),
    ("cloudy", "day"): ("white clouds", "blue sky with white clouds"),
    ("cloudy", "dusk"): ("glowing clouds", "red clouds"),
    ("cloudy", "dawn"): ("pink clouds", "soft clouds"),
    ("cloudy", "night"): ("dark clouds", "stars behind clouds"),
}
_BODIES = {
    ("sun", "dawn"): ("low sun", "rising sun", "the sun rising", "morning sun"),
    ("sun", "day"): ("bright sun", "high sun", "the sun in the sky", "sunny"),
    ("sun", "dusk"): ("low sun", "setting sun", "the sun setting", "evening sun"),
    ("moon", "night"): ("full moon", "bright moon", "the moon in the sky", "moonlight"),
    ("none", "dawn"): ("no sun",),
    ("none", "day"): ("no sun",),
    ("none", "dusk"): ("no sun",),
    ("none", "night"): ("no moon", "moonless"),
}
_LANDS = {
    ("mountains", "snowy"): (
        "snowy mountains",
        "snow capped mountains",
        "mountains covered in snow",
        "snowy peaks",
        "white mountains",
    ),
    ("mountains", "rocky"): ("rocky mountains", "gray mountains", "bare rocky peaks", "stony mountains"),
    ("mountains", "green"): ("green mountains", "lush green mountains", "grassy mountains", "green peaks"),
    ("mountains", "red"): ("red mountains", "red rock mountains", "red cliffs", "red desert mountains"),
    ("hills", "snowy"): ("snowy hills", "white hills", "hills covered in snow", "rolling snowy hills"),
    ("hills", "rocky"): ("rocky hills", "gray hills", "stony hills", "bare rocky hills"),
    ("hills", "green"): ("green hills", "rolling green hills", "grassy hills", "lush green hills"),
    ("hills", "red"): ("red hills", "red rock hills", "red desert hills", "low red hills"),
    ("dunes", "sandy"): ("sand dunes", "sandy dunes", "golden dunes", "rolling sand dunes"),
}
_BARE_LANDS = {
    "mountains": ("mountains", "high mountains", "a mountain range", "peaks"),
    "hills": ("hills", "rolling hills", "low hills"),
    "dunes": ("dunes", "rolling dunes"),
}
_BARE_COVERS = {
    "snowy": ("snow", "a snowy landscape"),
    "rocky": ("gray rocks", "a rocky landscape"),
    "green": ("a green landscape", "lush green land"),
    "red": ("red rocks", "a red landscape"),
    "sandy": ("sand", "a sandy landscape"),
}
_FOREGROUNDS = {
    "lake": (
        "over a lake",
        "beside a calm lake",
        "reflected in a lake",
        "above still water",
        "mirrored in the water",
        "with a lake",
    ),
    "meadow": (
        "behind a meadow",
        "over a meadow of flowers",
        "above a green meadow",
        "with a grassy field",
        "with wild flowers",
    ),
    "pines": ("behind pines", "with pine trees", "over a pine forest", "behind tall pines", "with a forest"),
    "desert": ("in the desert", "over a desert", "with desert sand", "in a sandy desert"),
}
_SNOWY_PINES = ("behind snowy pines", "with pine trees covered in snow")
_FOREGROUNDS_ALONE = {
    "lake": ("a lake", "a calm lake", "still water"),
    "meadow": ("a meadow", "a meadow of flowers", "a green meadow", "a grassy field"),
    "pines": ("pine trees", "pines", "a pine forest", "tall pines"),
    "desert": ("a desert", "desert sand", "a sandy desert"),
}
_CONNECTORS = ("and", "with", "over", "landscape", "a", "the", "wide", "view", "of", "under")
# Phrases that cannot stand over or above the land.
_NEGATIVE = ("no ", "sunny", "moonless")
_STOP_WORDS = frozenset(
    (
        *("a", "an", "the", "of", "and", "or", "with", "in", "on", "at", "by", "to", "from", "over", "under"),
        *(
            "above",
            "below",
            "behind",
            "beside",
            "between",
            "near",
            "into",
            "is",
            "are",
            "some",
            "few",
            "many",
        ),
        *("very", "it", "its", "as", "for", "through", "scene", "picture"),
    )
)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Say some of the scene's attributes, at least one, in lower case and a varying order."""
    said = {name for name in scene.attributes() if rng.random() < (0.45 if name == "celestial" else 0.82)}
    if scene.celestial != "none" and rng.random() < 0.6:
        said.add("celestial")
    if not said & {"terrain", "cover", "foreground"} and rng.random() < 0.85:
        said.add("terrain")
    if not said:
        said.add("time")
    subject = _subject(scene, said, rng)
    time = _one(rng, _TIMES[scene.time]) if "time" in said else ""
    extras = [_sky(scene, rng)] if "sky" in said else []
    if "celestial" in said:
        extras.append(_one(rng, _BODIES[scene.celestial, scene.time]))
    if len(extras) == 2 and rng.random() < 0.5:
        extras.reverse()
    return _arrange(subject, time, extras, rng)


def vocabulary() -> frozenset[str]:
    """Return all words that `caption` can say."""
    tables = (
        *(_TIMES, _SKIES, _SKIES_AT, _BODIES),
        *(_LANDS, _BARE_LANDS, _BARE_COVERS, _FOREGROUNDS, _FOREGROUNDS_ALONE),
    )
    phrases = [phrase for table in tables for choices in table.values() for phrase in choices]
    return frozenset(word for phrase in (*phrases, *_SNOWY_PINES, *_CONNECTORS) for word in phrase.split())


def read_words(prompt: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the prompt's words, lower-cased and in order: those that the world can say, and those it cannot.

    Plurals are forgiven; words such as "the", which mean nothing by themselves, are in neither.
    """
    sayable = vocabulary() - _STOP_WORDS
    words = re.findall(r"\w+", re.sub(r"['’]s\b", "", prompt.lower()))
    known = [word for word in words if _variants(word) & sayable]
    unknown = [word for word in words if word not in known and not _variants(word) & _STOP_WORDS]
    return tuple(known), tuple(unknown)


def corpus(n: int, rng: np.random.Generator) -> list[str]:
    """Return `n` captions of sampled scenes: the text that a tokenizer is trained on."""
    return [caption(sample_scene(rng), rng) for _ in range(n)]


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _sky(scene: Scene, rng: np.random.Generator) -> str:
    choices = _SKIES[scene.sky] + _SKIES_AT[scene.sky, scene.time]
    return _one(rng, choices)


def _subject(scene: Scene, said: set[str], rng: np.random.Generator) -> str:
    """Return the phrase of terrain, cover and foreground, or nothing when none of them is said."""
    if "terrain" in said and "cover" in said:
        land = _one(rng, _LANDS[scene.terrain, scene.cover])
    elif "terrain" in said:
        land = _one(rng, _BARE_LANDS[scene.terrain])
    elif "cover" in said:
        land = _one(rng, _BARE_COVERS[scene.cover])
    else:
        land = ""
    if "foreground" not in said:
        return land
    if not land:
        return _one(rng, _FOREGROUNDS_ALONE[scene.foreground])
    if rng.random() < 0.2:
        front = _one(rng, _FOREGROUNDS_ALONE[scene.foreground])
        return f"{front} and {land}" if rng.random() < 0.5 else f"{land} and {front}"
    phrases = _FOREGROUNDS[scene.foreground]
    if scene.foreground == "pines" and scene.cover == "snowy" and "cover" in said:
        phrases += _SNOWY_PINES
    return f"{land} {_one(rng, phrases)}"


def _arrange(subject: str, time: str, extras: list[str], rng: np.random.Generator) -> str:
    """Put the parts in one of several orders."""
    if not subject:
        return ", ".join(part for part in (time, *extras) if part)
    form = rng.random()
    if form < 0.12 and not subject.startswith("a "):
        subject = ("a view of " if form < 0.06 else "a wide landscape with ") + subject
    elif form < 0.3 and extras:
        if rng.random() < 0.5 and time and not extras[0].startswith(_NEGATIVE):
            return ", ".join((f"{extras[0]} over {subject} {time}", *extras[1:]))
        return ", ".join((*extras, f"{subject} {time}".strip()))
    elif form < 0.42 and time:
        return ", ".join((time, subject, *extras))
    elif form < 0.54 and len(extras) == 2:
        return f"{subject} {time}".strip() + f", {extras[0]} and {extras[1]}"
    elif form < 0.64 and extras and not extras[0].startswith(_NEGATIVE):
        return ", ".join((f"{subject} {time}".strip() + f" under {extras[0]}", *extras[1:]))
    return ", ".join((f"{subject} {time}".strip(), *extras))


def _variants(word: str) -> set[str]:
    """Return the word and what it may be the plural or the singular of."""
    forms = {word, word + "s", word.removesuffix("s"), word.removesuffix("es"), word + "es"}
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    return forms
