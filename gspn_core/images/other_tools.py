"""Settings out of the texts that other tools put into pictures, and the name of the tool."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gspn_core.errors import BadSetting
from gspn_core.images.comfyui import is_graph, read_graph
from gspn_core.images.infotext import Infotext, parse_infotext
from gspn_core.images.samplers import sampler_of
from gspn_core.lora.text import readable_tags

# What names of values mean, with all but letters left out.
_SETTINGS = {
    "prompt": ("prompt", "positiveprompt", "c"),
    "negative_prompt": ("negativeprompt", "uc", "negative"),
    "num_inference_steps": ("steps", "numinferencesteps"),
    "guidance_scale": ("cfgscale", "cfg", "guidancescale", "scale"),
    "seed": ("seed", "noiseseed"),
    "variation_seed": ("variationseed", "subseed"),
    "variation_strength": ("variationseedstrength", "variationstrength", "subseedstrength"),
    "sampler": ("sampler", "samplername"),
    "schedule": ("scheduler", "scheduletype", "noiseschedule"),
}
_NUMBERS = ("num_inference_steps", "guidance_scale", "seed", "variation_seed", "variation_strength")
_MEANING = {name: setting for setting, names in _SETTINGS.items() for name in names}
# The size is that of the picture; the others repeat what is read already, or describe the file.
_REPEATED = ("size", "width", "height", "resolution", "aspectratio", "fullprompt", "fullnegativeprompt")
_JSON = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\[{\"])")


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a picture of another tool says.

    Args:
        found: values by setting, not checked.
        unknown: the rest, as "name: value".
        tool: "" where it is not known.
        lora_hashes: of the files that its prompt names, "" for none.
    """

    found: Mapping[str, Any]
    unknown: tuple[str, ...] = ()
    tool: str = ""
    lora_hashes: str = ""


class UnreadText(BadSetting):
    """A picture says how it was made, in a form that is not read here. made_by: the sentence's first half."""

    def __init__(self, tool: str) -> None:
        what = "workflow" if tool == "ComfyUI" else "text"
        self.made_by = f"Made by {tool or 'another tool'}, whose {what} is not read here"
        super().__init__("picture", f"{self.made_by}; type its settings, or use it as init image.")
        self._tool = tool

    def __reduce__(self):
        return type(self), (self._tool,)


def read_foreign(texts: Mapping[str, Any]) -> Foreign:
    """Return what a picture of another tool says of how it was made.

    Raises BadSetting for nothing, UnreadText for what cannot be read.
    """
    others = texts.get("others", {})
    # A camera's comment is not a prompt, as the text that has this very keyword is.
    for text, is_named in ((texts["parameters"], True), (others.get("UserComment"), False)):
        if not text or not text.strip():
            continue
        if _JSON.match(text) and not parse_infotext(text).has_settings:
            return _from_json_text(text, others)
        found = parse_infotext(text)
        if found.has_settings or is_named:
            return _from_infotext(found)
    if "invokeai_metadata" in others or "sd-metadata" in others:
        return _from_json_text(others.get("invokeai_metadata") or others["sd-metadata"], others, "InvokeAI")
    if _is_novelai(others):
        return _from_json_text(others.get("Comment", ""), others, "NovelAI")
    if "prompt" in others or "workflow" in others:
        return _from_json_text(others.get("prompt", ""), others, "ComfyUI")
    if "Dream" in others or "invokeai_graph" in others:
        raise UnreadText("InvokeAI")
    if _JSON.match(others.get("Comment", "")):
        return _from_json_text(others["Comment"], others)
    found = parse_infotext(others.get("Description", ""))
    if found.has_settings:
        return _from_infotext(found)
    raise BadSetting(
        "picture", "This picture does not say how it was made; choose one that holds its settings."
    )


def _is_novelai(others: Mapping[str, str]) -> bool:
    return "novelai" in others.get("Software", "").lower()


def _from_infotext(text: Infotext) -> Foreign:
    values = {"prompt": text.prompt, "negative_prompt": text.negative_prompt, **text.pairs}
    version = text.pairs.get("Version", "")
    tool = (
        "Fooocus"
        if version.startswith("Fooocus")
        else "SD.Next"
        if text.pairs.get("App") == "SD.Next"
        else ""
    )
    # Without a tag they are of nothing that is read here, and listed with the rest.
    hashes = str(values.pop("Lora hashes", "")) if any(readable_tags(text.prompt)) else ""
    found, unknown = _sorted(values)
    return Foreign(found=found, unknown=(*unknown, *text.more), tool=tool, lora_hashes=hashes)


def _from_json_text(text: str, others: Mapping[str, str], tool: str = "") -> Foreign:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    tool = tool or _tool_of(value, others)
    values = _values_of(value, tool, others) if isinstance(value, dict) else None
    if values is None:
        raise UnreadText(tool)
    found, unknown = _sorted(values, sampler_is_scheduler=tool == "InvokeAI")
    if not found.get("prompt"):
        raise UnreadText(tool)
    return Foreign(found=found, unknown=tuple(unknown), tool=tool)


def _tool_of(value: Any, others: Mapping[str, str]) -> str:
    """Return the tool that wrote this JSON, "" where nothing says so."""
    names = set(value) if isinstance(value, dict) else set()
    software = others.get("Software", "")
    if "sui_image_params" in names:
        return "SwarmUI"
    if "fooocus_scheme" in others or "metadata_scheme" in names or software.startswith("Fooocus"):
        return "Fooocus"
    said = str(_value_of(value, "Software"))
    if _is_novelai({"Software": f"{software} {said}"}) or {"uc", "noise_schedule"} <= names:
        return "NovelAI"
    if {"app_version", "positive_prompt"} <= names or "invoke" in str(_value_of(value, "app_id")).lower():
        return "InvokeAI"
    if "extraMetadata" in names:
        return "Civitai"
    if is_graph(value) or is_graph(_value_of(value, "prompt")) or "workflow" in names or "nodes" in names:
        return "ComfyUI"
    return "Draw Things" if {"c", "uc", "steps"} <= names else ""


def _value_of(value: Any, name: str) -> Any:
    """Return a value of a JSON object by name, None for none."""
    return value.get(name) if isinstance(value, dict) else None


def _values_of(value: dict[str, Any], tool: str, others: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the values of a tool's JSON by their names there, None where they cannot be read."""
    if tool == "SwarmUI":
        return _object(value.get("sui_image_params"))
    if tool == "Civitai":
        return _object(value["extraMetadata"])
    if tool == "ComfyUI":
        graph = value if is_graph(value) else _object(value.get("prompt"))
        return read_graph(graph) if is_graph(graph) else None
    if tool == "NovelAI":
        inner = _object(value.get("Comment")) or value
        return {"prompt": value.get("Description") or others.get("Description"), **inner}
    image = value.get("image")
    if tool == "InvokeAI" and isinstance(image, dict):
        prompt = image.get("prompt")
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], dict):
            prompt = prompt[0].get("prompt")
        return {**image, "prompt": prompt}
    return value


def _object(value: Any) -> dict[str, Any] | None:
    """Return a JSON object, which some tools keep as a text within another; None for what is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _sorted(
    values: Mapping[str, Any], *, sampler_is_scheduler: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return the values that are settings here, by setting, and the rest as "name: value"."""
    found: dict[str, Any] = {}
    named: dict[str, str] = {}
    unknown = []
    for name, value in values.items():
        plain = re.sub(r"[\W_]", "", str(name)).lower()
        setting = _MEANING.get(plain)
        if sampler_is_scheduler and plain == "scheduler":
            setting = "sampler"
        if setting in ("sampler", "schedule"):
            named.setdefault(setting, str(name)[:40])
        if setting and setting not in found:
            found[setting] = value
        elif plain not in _REPEATED and value not in (None, "", [], {}, False):
            unknown.append(f"{str(name)[:40]}: {_shown(value)}")
    for setting in _NUMBERS:
        found[setting] = _number(found.get(setting))
    sampler, schedule = (str(found.pop(key, None) or "") for key in ("sampler", "schedule"))
    found["scheduler"], left = sampler_of(sampler, schedule)
    if sampler and found["scheduler"] is None:
        unknown.insert(0, f"{named['sampler']}: {sampler[:40]}")
    if left:
        unknown.insert(0 if not sampler else 1, f"{named.get('schedule', 'Schedule type')}: {left[:40]}")
    return found, unknown


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _number(value: Any) -> Any:
    """Return a number that was written as text; what is not one as it is, None for none."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value) if len(value) <= 40 else None
    except ValueError:
        number = None
    if number is None or number != number:
        return value[:40] or None
    if re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    return int(number) if abs(number) < 2**53 and number.is_integer() else number
