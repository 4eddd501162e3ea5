"""The command-line options for a model's extras."""

from __future__ import annotations

import argparse
import dataclasses

from gspn_core.models.catalog import Extras
from gspn_core.models.quantize import SCHEMES

_HELP = {
    "vae": "autoencoder in place of the model's own, run in its dtype (sdxl-vae-fp16-fix or a folder)",
    "adapter": "trained mixers: a folder with a GSPN adapter or LinFusion's weights, or linfusion-xl",
    "preview": "small decoder for previews while steps run (taesdxl or a folder)",
    "refiner": "SDXL's second UNet, for the setting refiner (sdxl-refiner or a folder)",
    "upscalers": "folder of upscaler models of the ESRGAN family (.safetensors), for stages of kind esrgan "
    "(with spandrel)",
    "x4": "Stable Diffusion's x4 upscaler, for stages of kind x4 (x4-upscaler or a folder)",
    "quantize": "quantize the UNet's linear layers: "
    + ", ".join(f"{name} (with {scheme.package})" for name, scheme in SCHEMES.items()),
    "loras": "folder of LoRA files for this model (default: loras in the project's folder)",
    "controls": "folder with a folder for each ControlNet or T2I-Adapter of SDXL, for the setting control",
}
_TAKES = {"quantize": "NAME", "upscalers": "DIR", "controls": "DIR"}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of Extras."""
    for field in dataclasses.fields(Extras):
        flag = "--refiner-model" if field.name == "refiner" else f"--{field.name}"
        takes = _TAKES.get(field.name, "NAME|DIR")
        parser.add_argument(flag, dest=f"with_{field.name}", metavar=takes, help=_HELP[field.name])


def extras_of(arguments: argparse.Namespace) -> Extras:
    """Return the extras that parsed options name."""
    return Extras(**{f.name: getattr(arguments, f"with_{f.name}") for f in dataclasses.fields(Extras)})
