"""The settings in a graph of ComfyUI, where it is plain: one sampler whose texts are typed in nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

_MOST_LINKS = 16
_MOST_NODES = 5000
_STEPS = ("steps", "cfg", "sampler_name", "scheduler", "denoise")
_TEXT_INPUTS = ("text", "text_g", "text_l", "string", "value", "prompt")
_WITHOUT_TEXT = ("ConditioningZeroOut",)

Nodes = Mapping[str, Mapping[str, Any]]


def is_graph(value: Any) -> bool:
    """Return whether a JSON value is a graph: nodes with a class each."""
    return (
        isinstance(value, dict)
        and 0 < len(value) <= _MOST_NODES
        and all(isinstance(node, dict) and isinstance(node.get("class_type"), str) for node in value.values())
    )


def read_graph(nodes: Nodes) -> dict[str, Any] | None:
    """Return prompt, negativeprompt, seed, steps, cfg, sampler, scheduler, denoise and model of a graph.

    LoRA files between the checkpoint and the sampler are in the prompt as tags, as other tools write them.
    None where more than one sampler draws from noise, or where its prompt is not a text of the graph itself.
    """
    samplers = [inputs for node in nodes.values() if _samples(inputs := _inputs(node))]
    drawing = [inputs for inputs in samplers if inputs.get("denoise", 1) == 1]
    chosen = samplers if len(samplers) == 1 else drawing
    if len(chosen) != 1:
        return None
    inputs = chosen[0]
    prompt = _text(nodes, inputs.get("positive"))
    if prompt is None:
        return None
    found = {name: _plain(nodes, inputs.get(name)) for name in _STEPS}
    found["sampler"] = found.pop("sampler_name")
    found["seed"] = _plain(nodes, inputs.get("seed", inputs.get("noise_seed")))
    if found["denoise"] == 1:
        del found["denoise"]
    models = [_inputs(node).get("ckpt_name") for node in nodes.values()]
    model = next((name for name in models if isinstance(name, str)), None)
    negative = _text(nodes, inputs.get("negative")) or ""
    prompt = " ".join([prompt, *_lora_tags(nodes, inputs.get("model"))])
    found |= {"prompt": prompt, "negativeprompt": negative, "model": model}
    return {name: value for name, value in found.items() if value is not None}


def _lora_tags(nodes: Nodes, value: Any) -> list[str]:
    """Return the LoRA files that a model goes through before it is sampled, the last one first."""
    tags = []
    for _ in range(_MOST_LINKS):
        node = _linked(nodes, value)
        if node is None:
            break
        inputs = _inputs(node)
        name, weight = inputs.get("lora_name"), inputs.get("strength_model", 1)
        if isinstance(name, str) and isinstance(weight, (int, float)):
            stem = PurePosixPath(name.replace("\\", "/")).stem
            tags.append(f"<lora:{stem[:100]}:{weight:g}>")
        value = inputs.get("model")
    return tags


def _inputs(node: Any) -> Mapping[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _samples(inputs: Mapping[str, Any]) -> bool:
    return {"steps", "cfg", "sampler_name", "positive"} <= inputs.keys()


def _linked(nodes: Nodes, value: Any) -> Mapping[str, Any] | None:
    """Return the node that a link leads to, None for what is not a link."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)):
        return nodes.get(str(value[0]))
    return None


def _text(nodes: Nodes, value: Any) -> str | None:
    """Return the text that a link leads to, None where there is not just one."""
    for _ in range(_MOST_LINKS):
        if isinstance(value, str):
            return value.strip()
        node = _linked(nodes, value)
        if node is None:
            return None
        if node.get("class_type") in _WITHOUT_TEXT:
            return ""
        inputs = _inputs(node)
        given = [inputs[name] for name in _TEXT_INPUTS if inputs.get(name)]
        if not given and "conditioning" in inputs:
            given = [inputs["conditioning"]]
        if not given:
            return "" if any(name in inputs for name in _TEXT_INPUTS) else None
        if any(other != given[0] for other in given):
            return None
        value = given[0]
    return None


def _plain(nodes: Nodes, value: Any) -> Any:
    """Return a value that is typed, or that of the node that it is linked to; None for none."""
    for _ in range(_MOST_LINKS):
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return value
        inputs = _inputs(_linked(nodes, value))
        value = next((inputs[name] for name in ("seed", "value", "int", "float") if name in inputs), None)
        if value is None:
            return None
    return None
