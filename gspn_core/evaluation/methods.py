"""Methods that upscale a picture: enlargements, image to image, the cascade, an upscaler model."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from PIL import Image

from gspn_core.attention.registry import use_mixer
from gspn_core.backbones.model import Model
from gspn_core.engine import Engine
from gspn_core.errors import BadSetting
from gspn_core.evaluation.coding import decode, encode, reconstruct
from gspn_core.evaluation.crops import ENLARGED, enlarge
from gspn_core.evaluation.pairs import ScenePair
from gspn_core.evaluation.upscaler import Upscaler
from gspn_core.events import StageDone
from gspn_core.images.load import digest, reference_of
from gspn_core.runtime.version import code_version
from gspn_core.settings import STARTING, Settings, parse_overrides, read_value

BICUBIC, LANCZOS = ENLARGED
AUTOENCODER = "autoencoder"
HIRES, CASCADE, UPSCALER = "hires fix", "cascade", "upscaler model"
# Settings that the comparison sets.
_FIXED = frozenset(("prompt", "target", "aspect", "seed", "overrides", *STARTING))


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A named cascade with other settings. asked: settings by name, including overrides."""

    name: str
    asked: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method that makes a picture of target size from a scene's base.

    depends_on: returns what the picture depends on in addition to the scene; draw: makes the picture.
    megapixels: returns how many go through the UNet as guidance pairs, all evaluations together.
    """

    name: str
    depends_on: Callable[[ScenePair], Any]
    draw: Callable[[ScenePair], Image.Image]
    megapixels: Callable[[ScenePair], float] = lambda _: 0.0

    def key(self, pair: ScenePair) -> str:
        """Return a digest of everything that the picture of a scene depends on."""
        # The autoencoder starts from the truth, all others from the base.
        scene = pair.prompt.text, pair.prompt.number, digest(pair.base), digest(pair.truth)
        record = json.dumps([self.depends_on(pair), scene], sort_keys=True, default=str)
        return hashlib.sha256(record.encode()).hexdigest()[:24]


def read_variant(text: str) -> Variant:
    """Return the variant of a text such as "gentle: upscale_strength=0.25, 1024.mixer=attention".

    Values with a comma are quoted, as in JSON.

    Raises:
        BadSetting: the text has another form, or a setting is unknown, invalid or set by the comparison.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    parts = [part.strip() for part in re.findall(r'(?:[^,"]|"(?:[^"\\]|\\.)*"|")+', rest) if part.strip()]
    if not name or not colon or not parts:
        raise BadSetting(
            "variant",
            "a variant must look like 'gentle: upscale_strength=0.25, 1024.mixer=attention', "
            f"got {text[:60]!r}.",
        )
    asked: dict[str, Any] = {}
    overrides = ";".join(part for part in parts if re.match(r"[0-9]", part))
    for part in parts:
        if re.match(r"[0-9]", part):
            continue
        setting, equals, value = (side.strip() for side in part.partition("="))
        if not equals or not value or setting in asked:
            raise BadSetting("variant", f"{name}: {part[:40]!r} must be one setting=value, given once.")
        if setting in _FIXED:
            raise BadSetting("variant", f"{name}: {setting} is the comparison's own; vary another setting.")
        asked[setting] = read_value(setting, value)
    asked["overrides"] = parse_overrides(overrides)
    Settings.from_dict({"prompt": "any", **asked})
    return Variant(name=name, asked=asked)


def make_methods(
    model: Model,
    px: int,
    *,
    hires: Sequence[float],
    variants: Sequence[Variant] = (),
    upscaler: Upscaler | None = None,
) -> tuple[Method, ...]:
    """Return all methods up to `px` in the order of the table; the autoencoder of the truth comes last.

    hires: the strengths of image to image; variants: cascades in addition to one per mixer of the model.

    Raises:
        BadSetting: two methods have the same name.
    """
    cascades = [Variant(name=f"{CASCADE} {mixer}", asked={"mixer": mixer}) for mixer in model.card.mixers]
    methods = [_enlargement(name, px) for name in ENLARGED]
    methods += [] if upscaler is None else [_upscaling(upscaler, px)]
    methods += [_image_to_image(model, px, strength) for strength in hires]
    methods += [_cascade(model, px, variant) for variant in (*cascades, *variants)]
    methods += [_autoencoder(model, px)]
    names = [method.name for method in methods]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadSetting("variant", f"two methods are called {twice!r}; give the variant another name.")
    return tuple(methods)


def chosen(methods: Sequence[Method], names: Sequence[str]) -> tuple[Method, ...]:
    """Return the methods of these names, all if there are none; raise BadSetting for an unknown name."""
    known = [method.name for method in methods]
    for name in names:
        if name not in known:
            raise BadSetting("method", f"{name!r} is not a method here; choose from {', '.join(known)}.")
    return tuple(method for method in methods if not names or method.name in names)


def cascade_settings(model: Model, px: int, asked: Mapping[str, Any], pair: ScenePair) -> Settings:
    """Return the settings of a cascade from a scene's base up to `px`; the scene's number is the seed."""
    own = {"mixer": model.card.mixers[0], **asked}
    return Settings(
        prompt=pair.prompt.text, target=px, seed=pair.prompt.number, start=reference_of(pair.base), **own
    )


def _enlargement(name: str, px: int) -> Method:
    return Method(name=name, depends_on=lambda _: [name, px], draw=lambda pair: enlarge(pair.base, px, name))


def _autoencoder(model: Model, px: int) -> Method:
    return Method(
        name=AUTOENCODER,
        depends_on=lambda _: [AUTOENCODER, px, _weights(model)],
        draw=lambda pair: reconstruct(model, pair.truth),
    )


def _upscaling(upscaler: Upscaler, px: int) -> Method:
    return Method(
        name=UPSCALER,
        depends_on=lambda _: [UPSCALER, px, upscaler.fingerprint],
        draw=lambda pair: upscaler.enlarge(pair.base, px),
    )


def _cascade(model: Model, px: int, variant: Variant) -> Method:
    engine = Engine(model)

    def depends_on(pair: ScenePair) -> list[Any]:
        # A stage's key does not include the version of the code, and other versions draw other pictures.
        plan = engine.plan(cascade_settings(model, px, variant.asked, pair))
        return [CASCADE, plan.stages[-1].key, _weights(model), code_version()]

    def draw(pair: ScenePair) -> Image.Image:
        plan = engine.plan(cascade_settings(model, px, variant.asked, pair))
        done = [
            event.image
            for event in engine.run(plan, previews=False, start=pair.base)
            if isinstance(event, StageDone)
        ]
        return done[-1]

    def megapixels(pair: ScenePair) -> float:
        plan = engine.plan(cascade_settings(model, px, variant.asked, pair))
        return sum(engine.model_calls(stage) * stage.drawn_at_once.pixels for stage in plan.stages) / 1e6

    return Method(name=variant.name, depends_on=depends_on, draw=draw, megapixels=megapixels)


def _image_to_image(model: Model, px: int, strength: float) -> Method:
    card, scheduler = model.card, model.pipeline.scheduler
    recipe = [HIRES, px, strength, card.num_inference_steps, card.guidance_scale, dict(scheduler.config)]
    return Method(
        name=f"{HIRES} {strength:g}",
        depends_on=lambda _: [*recipe, _weights(model)],
        draw=lambda pair: hires_fix(model, pair, px, strength),
        megapixels=lambda _: int(card.num_inference_steps * strength) * px * px / 1e6,
    )


def hires_fix(model: Model, pair: ScenePair, px: int, strength: float) -> Image.Image:
    """Return a base enlarged by Lanczos, then run through diffusers' SDXL image to image at `px`.

    The model's own attention, scheduler, steps, guidance and the scene's caption; all else is the pipeline's
    default. Input and output are latents, so that the autoencoder can have any dtype.
    """
    pipeline = _image_to_image_pipeline(model)
    with torch.inference_mode(), use_mixer(pipeline.unet, "attention", model.adapters):
        latents = pipeline(
            prompt=pair.prompt.text,
            image=encode(model, enlarge(pair.base, px, LANCZOS)),
            strength=strength,
            num_inference_steps=model.card.num_inference_steps,
            guidance_scale=model.card.guidance_scale,
            generator=torch.Generator().manual_seed(pair.prompt.number),
            output_type="latent",
        ).images
        return decode(model, latents)


def _image_to_image_pipeline(model: Model) -> StableDiffusionXLImg2ImgPipeline:
    own = model.pipeline
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=own.vae,
        text_encoder=own.text_encoder,
        text_encoder_2=own.text_encoder_2,
        tokenizer=own.tokenizer,
        tokenizer_2=own.tokenizer_2,
        unet=own.unet,
        scheduler=type(own.scheduler).from_config(own.scheduler.config),
        force_zeros_for_empty_prompt=own.config.force_zeros_for_empty_prompt,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _weights(model: Model) -> list[str]:
    """Return what identifies a model's files, packages, device and dtype."""
    unet = model.pipeline.unet
    return [model.card.name, model.card.fingerprint, str(unet.dtype), unet.device.type]
