"""The named models, and the card of any SDXL folder or file. Reads configs, loads no weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from gspn_core.errors import ModelUnavailable
from gspn_core.models.compatibility import reads_mask
from gspn_core.models.condition_files import find_conditions
from gspn_core.models.extras import with_extras, with_quantized, with_x4
from gspn_core.models.few_step import check_scheduler, few_step_values
from gspn_core.models.files import file_stats, read_json
from gspn_core.models.hub import EXTRAS, SDXL, Snapshot, cached_folder, find_extra, signature
from gspn_core.models.lora_files import lora_folder
from gspn_core.models.quantize import find_scheme
from gspn_core.models.shapes import SDXL_SHAPES, inpainting_shapes, read_shapes
from gspn_core.models.upscalers import find_upscalers
from gspn_core.models.weights import PICKLED, first_channels, read_header, refuse_pickled
from gspn_core.models.x4 import check_x4
from gspn_core.planning.types import ModelCard
from gspn_core.settings import Mixer
from gspn_core.world import captions

EXAMPLES_FOLDER = Path(__file__).parents[2] / "assets" / "examples"
WORLD_FOLDER = Path(__file__).parents[2] / "assets" / "world"
FEW_STEP_FOLDER = Path(__file__).parents[2] / "assets" / "world-4-steps"
# Where a model's folder keeps its mixers other than its own attention.
ADAPTER_FOLDERS: Mapping[Mixer, str] = MappingProxyType({"gspn": "gspn_adapter", "linear": "linfusion"})
# Where it keeps its super-resolution network.
SUPERRES_FOLDER = "superres"
SINGLE_FILE = ".safetensors"
_MIXERS: tuple[Mixer, ...] = ("gspn", "attention", "neighborhood", "linear")
_COMPUTING = ("torch", "diffusers", "transformers", "numba")
# To be raised by whoever changes what only float32 draws: the layers joined for it in `cascade.fused`.
_FLOAT32_MATHS_VERSION = 1
# A tensor that only an SDXL checkpoint in one file has: it is part of the second text encoder.
_SDXL_KEY = "conditioner.embedders.1.model.ln_final.weight"

# The pipelines whose folders are loaded; whether a UNet inpaints is seen by its input.
_PIPELINES = ("StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline")
_DESCRIPTION = "an SDXL checkpoint of yours"
_INPAINTING = "an SDXL inpainting checkpoint of yours: it reads the region that it redraws"

# As published for GSPN-SDXL; the other stages take 0.32, the card's default.
SDXL_STRENGTHS = ((1024, 0.42), (8192, 0.28))

WORLD = ModelCard(
    name="world",
    title="The embedded model",
    description="a small SDXL trained by this repository; it draws landscapes and nothing else",
    base_px=256,
    size_multiple=32,
    max_target_px=2048,
    default_target_px=1024,
    num_inference_steps=24,
    guidance_scale=3.0,
    upscale_strength=0.4,
    mixers=("gspn", "attention", "neighborhood"),
    scheduler="dpm++2m-karras",
    ladder="256 1024",
    vocabulary_hint=captions.hint(),
    vocabulary=captions.families(),
    examples=captions.EXAMPLES,
    read_words=captions.read_words,
)
# Its student (`gspn_core.training.few_step`): 4 calls of the conditional row in place of 24 guidance pairs.
FEW_STEP = dataclasses.replace(
    WORLD,
    name="world-4-steps",
    title="The embedded model, 4 steps",
    description="a student of the embedded model that draws in 4 steps without guidance",
    num_inference_steps=4,
    guidance_scale=1.0,
    upscale_strength=0.5,
    scheduler="euler",
)
SDXL_CARD = ModelCard(
    name="sdxl",
    title="SDXL base 1.0",
    description="Stability AI's Stable Diffusion XL, which draws what a prompt says",
    base_px=1024,
    size_multiple=32,
    max_target_px=8192,
    default_target_px=1024,
    num_inference_steps=50,
    guidance_scale=7.0,
    upscale_strength=0.32,
    upscale_strengths=SDXL_STRENGTHS,
    mixers=("attention", "neighborhood"),
    examples=(
        "a lighthouse on a cliff above a stormy sea, oil painting",
        "a street in an old town after rain, photograph, evening light",
        "a red fox in deep snow, close-up, soft light",
        "a glass greenhouse full of ferns, morning mist",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is loaded with a model: each a folder or a name in `hub.EXTRAS`, None for nothing.

    A name may fix a commit, "taesdxl@COMMIT".

    Args:
        vae: An autoencoder in place of the model's own, run in the dtype of the rest.
        adapter: Trained mixers.
        preview: A small decoder for the pictures while steps run.
        refiner: SDXL's second UNet.
        upscalers: A folder of upscaler models, for any model's pictures.
        x4: Stable Diffusion's x4 upscaler, likewise.
        quantize: Not a folder but a name in `quantize.SCHEMES`: how the UNets' linear layers are quantized.
        loras: The folder of LoRA files, which runs load that name them; None for the project's own.
        controls: A folder of ControlNets and T2I-Adapters, which runs load that name one.
    """

    vae: str | None = None
    adapter: str | None = None
    preview: str | None = None
    refiner: str | None = None
    upscalers: str | None = None
    x4: str | None = None
    quantize: str | None = None
    loras: str | None = None
    controls: str | None = None

    @property
    def sources(self) -> Mapping[str, str]:
        """Return the names or folders that are given, by the field they are given for."""
        fields = dataclasses.asdict(self).items()
        return {name: value for name, value in fields if name not in _NO_SOURCES and value is not None}


NO_EXTRAS = Extras()
# What counts otherwise: quantize by its scheme, the others in the keys of the stages that they draw.
_NO_SOURCES = ("quantize", "upscalers", "x4", "loras", "controls")


def embedded_cards() -> tuple[ModelCard, ...]:
    """Return the cards of the embedded models that are here, the default first."""
    return tuple(card for card in (WORLD, FEW_STEP) if embedded_folders()[card.name].is_dir())


def embedded_folders() -> Mapping[str, Path]:
    """Return the folders of the embedded models by name."""
    return {WORLD.name: WORLD_FOLDER, FEW_STEP.name: FEW_STEP_FOLDER}


def model_folder(name_or_path: str) -> Path:
    """Return the folder or file of a model by name (an embedded one, "sdxl" if it is cached) or by path."""
    embedded = embedded_folders().get(name_or_path)
    if embedded is not None:
        return embedded
    if name_or_path == SDXL.name and not Path(name_or_path).exists():
        return cached_folder(SDXL) or Path(name_or_path)
    return Path(name_or_path).expanduser()


def extra_source(name_or_path: str) -> Snapshot | Path:
    """Return where an extra is loaded from.

    Raises:
        ModelUnavailable: It is neither a folder nor a name in `hub.EXTRAS`.
    """
    path = Path(name_or_path).expanduser()
    found = None if path.exists() else find_extra(name_or_path)
    if found is not None:
        return found
    refuse_pickled(path)
    if not path.is_dir():
        raise ModelUnavailable(
            f"{name_or_path} is not a folder here and not one of {', '.join(EXTRAS)}; give one of these."
        )
    return path


def adapter_mixer(folder: Path) -> Mixer:
    """Return the mixer whose trained weights a folder holds.

    Raises:
        ModelUnavailable: It holds no trained mixer.
    """
    if (folder / "adapter.json").is_file():
        return "gspn"
    if (folder / "config.json").is_file() and "modules_list" in read_json(
        folder / "config.json", str(folder)
    ):
        return "linear"
    raise ModelUnavailable(
        f"{folder} holds neither a GSPN adapter (adapter.json) nor LinFusion's weights (config.json); "
        "distil one with `python -m gspn_core.training.distill` or give linfusion-xl."
    )


def find_card(
    name_or_path: str, *, device: str = "auto", dtype: str = "auto", extras: Extras = NO_EXTRAS
) -> ModelCard:
    """Return the card of a model by name, of a local SDXL folder, or of an SDXL checkpoint in one file.

    Args:
        name_or_path: "world", "world-4-steps", "sdxl", a folder in diffusers' layout or a .safetensors file.
        device: As given to `load_model`. It is part of the card's fingerprint, as dtype and extras are: a
            picture made on another device or in another dtype is not the same picture.
        dtype: As given to `load_model`.
        extras: As given to `load_model`.

    Raises:
        ModelUnavailable: There is no such model, or it is of another kind.
    """
    if name_or_path == SDXL.name and not Path(name_or_path).exists():
        card, files, shapes = SDXL_CARD, [signature(SDXL)], SDXL_SHAPES
    else:
        path = model_folder(name_or_path)
        if path.suffix.lower() in PICKLED:
            refuse_pickled(path)
        card = _file_card(path) if path.is_file() else _folder_card(path, name_or_path)
        files = file_stats(path)
        folders = {mixer: name for mixer, name in ADAPTER_FOLDERS.items() if (path / name).is_dir()}
        shapes = read_shapes(path, folders) if path.is_dir() else SDXL_SHAPES
        if path.is_file() and card.inpaints:
            shapes = inpainting_shapes(shapes)
    if card.inpaints and extras.refiner is not None:
        raise ModelUnavailable(
            f"{card.title} is an inpainting model, which no refiner continues; leave --refiner-model out."
        )
    mixers, extra_files = _with_adapter(card, extras), []
    for name, value in extras.sources.items():
        source = extra_source(value)
        extra_files.append((name, file_stats(source) if isinstance(source, Path) else signature(source)))
    refiner, preview = _extra(extras.refiner), _extra(extras.preview)
    shapes = with_extras(shapes, refiner=refiner, preview=preview)
    x4 = _extra(extras.x4)
    if x4 is not None:
        check_x4(x4)
    if extras.quantize is not None:
        scheme = find_scheme(extras.quantize)
        extra_files.append((scheme.name, metadata.version(scheme.package)))
        card = dataclasses.replace(card, title=f"{card.title}, {scheme.name}")
        shapes = with_quantized(shapes, scheme, model_folder(name_or_path), refiner)
    record = [
        files,
        [(package, metadata.version(package)) for package in _COMPUTING],
        device,
        dtype,
        extra_files,
    ]
    if dtype not in ("bfloat16", "float16"):
        # "auto" may be float32, too.
        record.append({"float32": _FLOAT32_MATHS_VERSION})
    fingerprint = _digest(record)
    has_refiner = extras.refiner is not None
    return dataclasses.replace(
        card,
        mixers=mixers,
        has_refiner=has_refiner,
        upscalers=() if extras.upscalers is None else find_upscalers(extras.upscalers)[1],
        has_superres=(model_folder(name_or_path) / SUPERRES_FOLDER).is_dir(),
        loras=lora_folder(extras.loras, shapes),
        conditions=None if extras.controls is None else find_conditions(extras.controls, shapes),
        fingerprint=fingerprint,
        x4="" if x4 is None else _digest(file_stats(x4) if isinstance(x4, Path) else signature(x4)),
        shapes=with_x4(shapes, x4),
    )


def _digest(record: object) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]


def _extra(name_or_path: str | None) -> Snapshot | Path | None:
    return None if name_or_path is None else extra_source(name_or_path)


def local_models(folder: Path) -> tuple[str, ...]:
    """Return the paths of the SDXL folders and files directly in a folder, sorted by name."""
    if not folder.is_dir():
        return ()
    found = []
    for path in sorted(folder.iterdir()):
        try:
            if path.suffix == SINGLE_FILE or (path / "model_index.json").is_file():
                find_card(str(path))
                found.append(str(path))
        except (ModelUnavailable, OSError):
            continue
    return tuple(found)


def _folder_card(folder: Path, name_or_path: str) -> ModelCard:
    index = read_json(folder / "model_index.json", name_or_path)
    if index.get("_class_name") not in _PIPELINES:
        kind = index.get("_class_name", "no pipeline")
        raise ModelUnavailable(
            f"model {name_or_path} holds {kind}, not a StableDiffusionXLPipeline; give an SDXL folder."
        )
    for card in (WORLD, FEW_STEP):
        if name_or_path == card.name:
            return card
    unet = read_json(folder / "unet" / "config.json", name_or_path)
    vae = read_json(folder / "vae" / "config.json", name_or_path)
    try:
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        base_px = int(unet["sample_size"]) * factor
        size_multiple = factor * 2 ** (len(unet["block_out_channels"]) - 1)
        channels = int(unet.get("in_channels", 4)), int(unet.get("out_channels", 4))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(
            f"model {name_or_path} has a config without {error}; write the folder again with save_pretrained."
        ) from error
    trained = {mixer: (folder / name).is_dir() for mixer, name in ADAPTER_FOLDERS.items()}
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", name_or_path)
    check_scheduler(name_or_path, scheduler)
    inpaints = reads_mask(f"the UNet of {name_or_path}", *channels)
    card = ModelCard(
        name=folder.name,
        title=folder.name,
        description=_INPAINTING if inpaints else _DESCRIPTION,
        inpaints=inpaints,
        base_px=base_px,
        size_multiple=size_multiple,
        max_target_px=base_px * 8,
        default_target_px=base_px,
        num_inference_steps=50,
        guidance_scale=7.0,
        upscale_strength=0.32,
        upscale_strengths=SDXL_STRENGTHS,
        mixers=tuple(mixer for mixer in _MIXERS if trained.get(mixer, True)),
        examples=SDXL_CARD.examples,
    )
    return dataclasses.replace(card, **few_step_values(folder.name, scheduler, unet))


def _file_card(path: Path) -> ModelCard:
    """Return the card of a checkpoint in one file; a folder of its name next to it may hold its configs."""
    if path.suffix.lower() != SINGLE_FILE:
        raise ModelUnavailable(f"{path} is not a .safetensors file; give one, or an SDXL folder.")
    if _SDXL_KEY not in read_header(path):
        raise ModelUnavailable(f"{path} is not an SDXL checkpoint; give one, or an SDXL folder.")
    configs = path.with_suffix("")
    name = path.stem
    has_configs = (configs / "model_index.json").is_file()
    card = _folder_card(configs, str(configs)) if has_configs else SDXL_CARD
    few = {} if has_configs else few_step_values(name, {}, {})
    inpaints = reads_mask(str(path), first_channels(path), 4)
    if has_configs and inpaints != card.inpaints:
        raise ModelUnavailable(
            f"{path} has {first_channels(path)} input channels and its configuration in {configs} another "
            "count; copy its own configuration there."
        )
    description = _INPAINTING if inpaints else _DESCRIPTION
    return dataclasses.replace(card, name=name, title=name, description=description, inpaints=inpaints, **few)


def _with_adapter(card: ModelCard, extras: Extras) -> tuple[Mixer, ...]:
    if extras.adapter is None:
        return card.mixers
    source = extra_source(extras.adapter)
    mixer = adapter_mixer(source) if isinstance(source, Path) else "linear"
    return tuple(name for name in _MIXERS if name == mixer or name in card.mixers)
