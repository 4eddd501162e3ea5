"""Captions of scenes, and the vocabulary of the world."""

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from gspn_core.world.scene import Scene, sample_scene

# The first one is the page's default, so it is one that the model draws well.
EXAMPLES: tuple[str, ...] = (
    "steep cliffs with a beach on a bright day, a clear sky and the sun in the sky",
    "snowy mountains over a lake at dusk, a few clouds, low sun",
    "a lighthouse on high cliffs above the sea at sunset, glowing clouds, vivid colors",
    "northern lights over a cabin with a lit window and snowy hills at night",
    "sand dunes in the desert at sunset, clear sky, setting sun, golden tones",
    "a sailboat among green islands by day, white clouds",
    "autumn hills along a river at dawn, thick fog",
    "a hot air balloon over red mountains in the desert at sunrise, clear sky",
    "a crescent moon over pine trees and snowy peaks at night, starry sky",
    "green hills behind a meadow of flowers by day, a flock of birds, pastel colors",
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
    "stormy": ("stormy sky", "storm clouds", "a dark stormy sky", "heavy clouds", "an overcast sky"),
    "aurora": ("aurora", "northern lights", "green northern lights", "an aurora in the sky", "polar lights"),
}
# Words for the sky that are only valid at certain times.
_SKIES_AT = {
    ("clear", "day"): ("blue sky", "clear blue sky"),
    ("clear", "dusk"): ("orange sky", "purple sky"),
    ("clear", "dawn"): ("pink sky",),
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
    ("moon", "night"): ("full moon", "a full moon", "bright moon", "the full moon in the sky"),
    ("crescent", "night"): ("crescent moon", "a crescent moon", "a thin moon", "half moon"),
    ("none", "dawn"): ("no sun",),
    ("none", "day"): ("no sun",),
    ("none", "dusk"): ("no sun",),
    ("none", "night"): ("no moon", "moonless"),
}
_COVERS = {
    "snowy": ("snowy", "snow capped", "white", "snow covered"),
    "rocky": ("rocky", "gray", "stony", "bare rocky"),
    "green": ("green", "lush green", "grassy"),
    "red": ("red", "red rock", "reddish"),
    "autumn": ("autumn", "orange autumn", "colorful autumn", "golden autumn"),
    "sandy": ("sandy", "sand", "golden"),
}
_COVERS_AFTER = {"snowy": ("covered in snow", "in snow"), "autumn": ("in autumn colors", "in autumn")}
_TERRAINS = {
    "mountains": ("mountains", "mountains", "peaks", "high mountains"),
    "hills": ("hills", "hills", "rolling hills", "low hills"),
    "dunes": ("dunes", "dunes", "rolling dunes"),
    "islands": ("islands", "islands", "small islands"),
    "cliffs": ("cliffs", "steep cliffs", "high cliffs"),
}
_BARE_COVERS = {
    "snowy": ("snow", "a snowy landscape"),
    "rocky": ("gray rocks", "a rocky landscape"),
    "green": ("a green landscape", "lush green land"),
    "red": ("red rocks", "a red landscape"),
    "autumn": ("an autumn landscape", "autumn colors"),
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
    "river": ("along a river", "behind a winding river", "above a river", "with a river", "over a stream"),
    "meadow": (
        "behind a meadow",
        "over a meadow of flowers",
        "above a green meadow",
        "with a grassy field",
        "with wild flowers",
    ),
    "pines": ("behind pines", "with pine trees", "over a pine forest", "behind tall pines", "with a forest"),
    "desert": ("in the desert", "over a desert", "with desert sand", "in a sandy desert"),
    "beach": ("behind a beach", "above a sandy beach", "with a beach", "by the sea", "above the sea"),
}
_SNOWY_PINES = ("behind snowy pines", "with pine trees covered in snow")
_FOREGROUNDS_ALONE = {
    "lake": ("a lake", "a calm lake", "still water"),
    "river": ("a river", "a winding river", "a stream"),
    "meadow": ("a meadow", "a meadow of flowers", "a green meadow", "a grassy field"),
    "pines": ("pine trees", "pines", "a pine forest", "tall pines"),
    "desert": ("a desert", "desert sand", "a sandy desert"),
    "beach": ("a beach", "a sandy beach", "the sea", "a beach by the sea"),
}
_WEATHERS = {
    "none": ("dry weather", "clear air"),
    "fog": ("fog", "thick fog", "foggy", "mist", "in the fog", "misty"),
    "rain": ("rain", "falling rain", "rainy", "in the rain", "heavy rain"),
    "snow": ("falling snow", "snowfall", "snowing", "snowflakes", "in a snowfall"),
}
_OBJECTS = {
    "cabin": ("a cabin", "a wooden cabin", "a cabin with a lit window", "a small house", "a hut"),
    "sailboat": ("a sailboat", "a sailing boat", "a boat with white sails", "a small boat"),
    "balloon": ("a hot air balloon", "a balloon", "a colorful balloon", "a balloon in the sky"),
    "lighthouse": ("a lighthouse", "a striped lighthouse", "a lighthouse on the shore"),
    "birds": ("birds", "a flock of birds", "birds in the sky", "flying birds"),
}
_PALETTES = {
    "natural": ("natural colors",),
    "golden": ("golden tones", "warm golden colors", "in golden tones", "warm tones"),
    "cool": ("cool blue tones", "cold colors", "in cool tones", "blue tones"),
    "pastel": ("pastel colors", "soft pastel tones", "in pastel colors", "pale colors"),
    "vivid": ("vivid colors", "in vivid colors", "saturated colors", "strong colors"),
}
# Probability that a caption names an attribute; ordinary values are rarely named.
_MENTIONED = {
    "time": 0.82,
    "sky": 0.8,
    "celestial": 0.78,
    "terrain": 0.85,
    "cover": 0.82,
    "foreground": 0.82,
    "weather": 0.9,
    "object": 0.92,
    "palette": 0.85,
}
_MENTIONED_ORDINARY = {"celestial": 0.35, "weather": 0.06, "object": 0.0, "palette": 0.12}
_CONNECTORS = ("and", "with", "over", "landscape", "a", "the", "wide", "view", "of", "under", "among")
# Beginnings of phrases that cannot be joined with the land by "over" or "under".
_NEGATIVE = ("no ", "sunny", "moonless", "in ", "foggy", "misty", "rainy", "snowing", "dry ", "clear air")
# Prepositions and articles at the start of a phrase.
_LEADING = re.compile(r"^(?:(?:over|by|at|in|on|beside|behind|along|above|with) )?(?:(?:a|an|the) )?")
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
    """Return a caption of some of the scene's attributes, at least one, in lower case and varying order."""
    return describe(scene, rng)[0]


def describe(scene: Scene, rng: np.random.Generator) -> tuple[str, frozenset[str]]:
    """Return a caption of the scene and the names of the attributes that it names."""
    said = {name for name in scene.attributes() if rng.random() < _chance(scene, name)}
    if not said & {"terrain", "cover", "foreground"} and rng.random() < 0.85:
        said.add("terrain")
    if not said:
        said.add("time")
    subject = _subject(scene, said, rng)
    time = _one(rng, _TIMES[scene.time]) if "time" in said else ""
    extras = [_sky(scene, rng)] if "sky" in said else []
    if "celestial" in said:
        extras.append(_one(rng, _BODIES[scene.celestial, scene.time]))
    if "weather" in said:
        extras.append(_one(rng, _WEATHERS[scene.weather]))
    if "object" in said:
        thing = _one(rng, _OBJECTS[scene.object])
        if subject and rng.random() < 0.5:
            subject = _joined(thing, subject, rng)
        else:
            extras.append(thing)
    rng.shuffle(extras)
    if "palette" in said:
        extras.append(_one(rng, _PALETTES[scene.palette]))
    return _arrange(subject, time, extras, rng), frozenset(said)


def _chance(scene: Scene, name: str) -> float:
    ordinary = getattr(scene, name) in ("none", "natural")
    return _MENTIONED_ORDINARY[name] if ordinary else _MENTIONED[name]


def _joined(thing: str, subject: str, rng: np.random.Generator) -> str:
    """Join an object and the land into one phrase, in either order."""
    form = rng.random()
    if form < 0.4:
        return f"{thing} and {subject}"
    if form < 0.7:
        return f"{subject} with {thing}"
    return f"{subject} and {thing}" if subject.startswith(("a ", "the ")) else f"{thing} among {subject}"


def hint() -> str:
    """Return a clause that says what the world draws, with words of several kinds to try."""
    kinds = (_TERRAINS["mountains"], _FOREGROUNDS_ALONE["lake"], _TIMES["dusk"], _WEATHERS["snow"])
    tried = ", ".join(words[0] for words in kinds)
    return f"it draws landscapes; try {tried} or {_OBJECTS['lighthouse'][0]}"


def families() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what a prompt can name, by attribute: for each value one phrase that `caption` uses."""

    def some(table: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(choices[0] for name, choices in table.items() if name not in ("none", "natural"))

    return (
        ("cover", some(_COVERS)),
        ("terrain", some(_TERRAINS)),
        ("foreground", some(_FOREGROUNDS)),
        ("time", some(_TIMES)),
        ("sky", some(_SKIES)),
        ("celestial", ("rising sun", "bright sun", "setting sun", "full moon", "crescent moon")),
        ("weather", some(_WEATHERS)),
        ("object", some(_OBJECTS)),
        ("palette", some(_PALETTES)),
    )


def vocabulary() -> frozenset[str]:
    """Return all words that `caption` can use."""
    tables = (
        *(_TIMES, _SKIES, _SKIES_AT, _BODIES, _WEATHERS, _OBJECTS, _PALETTES),
        *(_TERRAINS, _COVERS, _COVERS_AFTER, _BARE_COVERS, _FOREGROUNDS, _FOREGROUNDS_ALONE),
    )
    phrases = [phrase for table in tables for choices in table.values() for phrase in choices]
    return frozenset(word for phrase in (*phrases, *_SNOWY_PINES, *_CONNECTORS) for word in phrase.split())


def read_words(prompt: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the prompt's words, lower-cased and in order: those of the vocabulary, and the others.

    Plurals are recognised; stop words such as "the" are in neither.
    """
    sayable = vocabulary() - _STOP_WORDS
    words = re.findall(r"\w+", re.sub(r"['’]s\b", "", prompt.lower()))
    known = [word for word in words if _variants(word) & sayable]
    unknown = [word for word in words if word not in known and not _variants(word) & _STOP_WORDS]
    return tuple(known), tuple(unknown)


def read_attributes(prompt: str) -> dict[str, tuple[str, ...]]:
    """Return the attributes that a prompt names, each with its values, in the order of the text.

    It matches the phrases of `caption`, also without their leading preposition and article. The longest match
    counts; phrases after "no" or "without" do not, unless they contain it themselves.
    """
    pattern, meanings = _phrases()
    read: dict[str, tuple[str, ...]] = {}
    for match in pattern.finditer(" ".join(re.findall(r"\w+", prompt.lower()))):
        if match["said"] is not None:
            name, value = meanings[match["said"]]
            read[name] = tuple(dict.fromkeys((*read.get(name, ()), value)))
    return read


@cache
def _phrases() -> tuple[re.Pattern, Mapping[str, tuple[str, str]]]:
    """Return a pattern of the phrases, affirmed or negated, and the attribute and value that each names."""
    tables = {
        "time": (_TIMES,),
        "sky": (_SKIES, {sky: _at(_SKIES_AT, sky) for sky in _SKIES}),
        "celestial": ({body: _at(_BODIES, body) for body, _ in _BODIES},),
        "terrain": (_TERRAINS,),
        "cover": (_COVERS, _COVERS_AFTER, _BARE_COVERS),
        "foreground": (_FOREGROUNDS, _FOREGROUNDS_ALONE, {"pines": _SNOWY_PINES}),
        "weather": (_WEATHERS,),
        "object": (_OBJECTS,),
        "palette": (_PALETTES,),
    }
    meanings = {
        form: (name, value)
        for name, choices in tables.items()
        for table in choices
        for value, phrases in table.items()
        for phrase in phrases
        for form in (phrase, _LEADING.sub("", phrase))
    }
    phrases = "|".join(sorted(meanings, key=len, reverse=True))
    return re.compile(rf"\b(?:(?P<said>{phrases})|(?:no|without) (?:{phrases}))s?\b"), meanings


def _at(table: Mapping[tuple[str, str], tuple[str, ...]], first: str) -> tuple[str, ...]:
    return tuple(phrase for key, phrases in table.items() if key[0] == first for phrase in phrases)


def corpus(n: int, rng: np.random.Generator) -> list[str]:
    """Return `n` captions of sampled scenes: the text that a tokenizer is trained on."""
    return [caption(sample_scene(rng), rng) for _ in range(n)]


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _sky(scene: Scene, rng: np.random.Generator) -> str:
    return _one(rng, _SKIES[scene.sky] + _SKIES_AT.get((scene.sky, scene.time), ()))


def _land(scene: Scene, covered: bool, rng: np.random.Generator) -> str:
    """Return the phrase of the terrain, with its cover before or after it if that is named."""
    noun = _one(rng, _TERRAINS[scene.terrain])
    if not covered:
        return noun
    if scene.cover in _COVERS_AFTER and rng.random() < 0.3:
        return f"{noun} {_one(rng, _COVERS_AFTER[scene.cover])}"
    return f"{_one(rng, _COVERS[scene.cover])} {noun}"


def _subject(scene: Scene, said: set[str], rng: np.random.Generator) -> str:
    """Return the phrase of terrain, cover and foreground, "" if none of them is named."""
    if "terrain" in said:
        land = _land(scene, "cover" in said, rng)
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
    """Join the parts in one of several orders."""
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
    """Return the word and its possible singular and plural forms."""
    forms = {word, word + "s", word.removesuffix("s"), word.removesuffix("es"), word + "es"}
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    return forms
