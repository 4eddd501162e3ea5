"""The comparison of methods as Markdown and JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gspn_core.backbones.model import Model
from gspn_core.evaluation.comparison import ComparisonConfig, MethodRow
from gspn_core.evaluation.figures import TRUTH
from gspn_core.evaluation.methods import AUTOENCODER, HIRES, Variant
from gspn_core.evaluation.pairs import Estimate, SceneFigures, octave_count
from gspn_core.evaluation.report import table
from gspn_core.metrics.colour import AREA_PX
from gspn_core.settings import overrides_text

# By figure: its column, the digits shown, and its factor.
_NEAR = {
    "psnr": ("PSNR, dB", 2, 1),
    "ssim": ("SSIM", 3, 1),
    "perceptual": ("perceptual distance", 3, 1),
    "frechet": ("Fréchet distance", 2, 1),
    "colour": ("local ΔE", 2, 1),
    "octave 1": ("finest octave", 2, 1),
    "coherence 1": ("its coherence", 3, 1),
    "megapixels": ("UNet Mpx", 1, 1),
    "seconds": ("CPU s", 2, 1),
}
_KEPT = {
    "adherence": ("adherence, %", 1, 100),
    "objects": ("objects, %", 1, 100),
    "consistency": ("consistency, dB", 1, 1),
    "seams": ("seams", 3, 1),
    "repetition": ("repetition", 3, 1),
}


def comparison_markdown(
    rows: Sequence[MethodRow],
    bases: tuple[Estimate, Estimate],
    notes: Sequence[str],
    *,
    base_px: int,
    px: int,
) -> str:
    """Return both tables of a comparison, then the notes."""
    adherence, objects = bases
    base = MethodRow(name=f"base, {base_px} px", figures={"adherence": adherence, "objects": objects})
    parts = [
        f"# From true {base_px} px to {px} px, measured",
        f"## How near the pictures are to the truth at {px} px",
        _table(rows, _NEAR),
        "## What they keep of prompt and structure",
        _table((base, *rows), _KEPT),
        "## Octave by octave: energy over the truth's, and coherence with it",
        _table(rows, _octave_columns(octave_count(base_px, px), px)),
    ]
    return "\n\n".join((*parts, *(f"- {note}" for note in notes))) + "\n"


def comparison_json(
    rows: Sequence[MethodRow],
    found: Mapping[str, Sequence[SceneFigures]],
    bases: tuple[Estimate, Estimate],
    setting: Mapping[str, Any],
) -> dict[str, Any]:
    """Return all figures as plain data, also by scene; figures that are not finite become None."""
    adherence, objects = map(_estimate, bases)
    return {
        "setting": dict(setting),
        "bases": {"adherence": adherence, "objects": objects},
        "methods": [
            {
                "method": row.name,
                "figures": {name: _estimate(each) for name, each in row.figures.items()},
                "scenes": [_scene(scene) for scene in found[row.name]],
            }
            for row in rows
        ],
    }


def comparison_notes(config: ComparisonConfig, model: Model, scenes: int) -> tuple[str, ...]:
    """Return the notes that explain the figures."""
    card, scheduler = model.card, type(model.pipeline.scheduler).__name__
    return (
        f"Means over {scenes} held-out scenes ± their standard error (jackknife). Every method but the "
        f"autoencoder starts from the true render at {card.base_px} px. “{AUTOENCODER}” is the truth, "
        f"encoded and decoded by the model's autoencoder: the limit. “{TRUTH}” is the truth itself.",
        f"“{HIRES}” enlarges to {config.target} px by Lanczos, then runs diffusers' "
        f"StableDiffusionXLImg2ImgPipeline of the same weights with self-attention, the model folder's "
        f"{scheduler}, {card.num_inference_steps} steps, guidance {card.guidance_scale:g} and the caption. "
        f"The cascades run with {card.scheduler} and the model's other defaults.",
        "Perceptual distance: the attribute classifier's maps after its first convolution and after every "
        "block, the channels of each place divided by their norm; the squared difference, averaged over "
        "places and summed over layers (LPIPS without learnt weights).",
        f"Fréchet distance: of {config.crops} crops of {card.base_px} px per picture from the same crops of "
        "the truth, in the classifier's features. Plain sets of equal counts, not extrapolated: 0 for the "
        "truth, never below, comparable within this table.",
        f"Local ΔE: mean CIE 1976 difference after averaging both pictures over squares of {AREA_PX} px. "
        "Finest octave: luma energy between half and the whole of Nyquist over the truth's, both summed over "
        "scenes. Coherence: correlation of the spectra over the octave (Fourier ring correlation), 1 for the "
        "truth; detail that is made up raises the energy and not the coherence. The last octave of the third "
        "table is the finest that the base itself holds.",
        "Adherence and objects: what captions name and the classifier sees in the picture shrunk to the base "
        "size. UNet Mpx: megapixels that go through the UNet as guidance pairs, over all steps and tiles. "
        "CPU s: processor time of the method alone, all threads, without the first picture that each method "
        "draws in a process.",
        *(f"{each.name}: {_asked(each)}" for each in config.variants),
    )


def _octave_columns(count: int, px: int) -> dict[str, tuple[str, int, float]]:
    columns = {}
    for number in range(1, count + 1):
        top = px / 2**number
        columns[f"octave {number}"] = (f"{top / 2:g}–{top:g} cycles", 2, 1)
        columns[f"coherence {number}"] = ("coherence", 3, 1)
    return columns


def _asked(variant: Variant) -> str:
    plain = [f"{name}={value}" for name, value in variant.asked.items() if name != "overrides"]
    return ", ".join((*plain, *overrides_text(variant.asked.get("overrides", ())).splitlines()))


def _table(rows: Sequence[MethodRow], columns: Mapping[str, tuple[str, int, float]]) -> str:
    lines = [
        [row.name, *(shown(row.figures.get(name), *form) for name, (_, *form) in columns.items())]
        for row in rows
    ]
    return table(["method", *(title for title, *_ in columns.values())], lines)


def shown(estimate: Estimate | None, digits: int, factor: float) -> str:
    """Return an estimate times a factor with its standard error; a dash where it is not known."""
    if estimate is None or not math.isfinite(estimate.value):
        return "–"
    # Adding zero turns -0 into 0.
    value = f"{round(estimate.value * factor, digits) + 0.0:.{digits}f}"
    return value if estimate.error is None else f"{value} ± {estimate.error * factor:.{digits}f}"


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in asdict(estimate).items()
    }


def _scene(scene: SceneFigures) -> dict[str, Any]:
    return {
        "number": scene.prompt.number,
        "prompt": scene.prompt.text,
        "figures": dict(scene.figures),
        "seen": dict(scene.seen),
        "seconds": scene.seconds,
    }
