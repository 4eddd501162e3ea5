"""Load a model from safetensors, part by part with progress; nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionUpscalePipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from gspn_core.attention.gspn_adapter import GSPNAdapter
from gspn_core.attention.linear_adapter import LinearAdapter
from gspn_core.backbones.conditions import ConditionNetworks
from gspn_core.backbones.model import Model
from gspn_core.errors import GspnError, ModelUnavailable
from gspn_core.events import ModelProgress
from gspn_core.models.catalog import (
    ADAPTER_FOLDERS,
    NO_EXTRAS,
    SUPERRES_FOLDER,
    Extras,
    adapter_mixer,
    embedded_folders,
    find_card,
)
from gspn_core.models.compatibility import check_latents, check_parts, check_refiner
from gspn_core.models.conditions import load_condition
from gspn_core.models.files import read_json
from gspn_core.models.hub import SDXL_TOKENIZERS
from gspn_core.models.mapped_files import copy_mapped
from gspn_core.models.quantize import Scheme, diffusers_config, find_scheme, linear_layers, scheme_dtype
from gspn_core.models.quiet import quiet_libraries
from gspn_core.models.single_file import config_folder, read_single_file
from gspn_core.models.sources import OnProgress, extra_folder, fetched, local_source, revisions
from gspn_core.models.upscalers import find_upscalers
from gspn_core.models.weights import PartWeights, count_of, part_weights, read_header
from gspn_core.planning.types import ModelCard
from gspn_core.runtime.device import pick_device, pick_dtype
from gspn_core.runtime.machine import keep_freed
from gspn_core.runtime.placement import home_of
from gspn_core.superres.esrgan import EsrganModels
from gspn_core.superres.upscaler import Upscaler
from gspn_core.superres.weights import load_network

_PARTS: dict[str, type] = {
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
}
_ADAPTERS = {"gspn": GSPNAdapter, "linear": LinearAdapter}
# What loading takes in addition to the weights themselves.
_SPARE_SHARE = 0.1


def load_model(
    name_or_path: str = "world",
    *,
    device: str = "auto",
    dtype: str = "auto",
    extras: Extras = NO_EXTRAS,
    on_progress: OnProgress = lambda _progress: None,
    memory_bytes: int | None = None,
) -> Model:
    """Load a model by name, folder or file, ready to run; fetch a named model that is not here.

    If the planner finds that not all parts fit on the device, they are offloaded to the host. The VAE runs in
    float32 whatever the dtype of the rest (SDXL's own overflows in float16), unless another VAE is given, or
    the rest is bfloat16 on a CPU and the VAE's config has `force_upcast: false`.

    Args:
        name_or_path: "world", "world-4-steps", "sdxl", a folder in diffusers' layout or a .safetensors file.
        device: "auto", "cpu" or "cuda".
        dtype: "auto", "float32", "bfloat16" or "float16".
        extras: A VAE, adapter, refiner, preview decoder or quantization to load with it.
        on_progress: Called as bytes are fetched and read; an exception from it ends the loading.
        memory_bytes: The most that a stage may take on the device; None for all that is free.

    Returns:
        The pipeline with its adapters, refiner, preview decoder and super-resolution network, in eval mode
        and without gradients.

    Raises:
        ModelUnavailable: Files are missing, incomplete or of another layout; the message is one sentence.
    """
    where = pick_device(device)
    card = find_card(name_or_path, device=device, dtype=dtype, extras=extras)
    scheme = None if extras.quantize is None else find_scheme(extras.quantize)
    weights_dtype = scheme_dtype(scheme, dtype, on_gpu=where.type == "cuda") if scheme else dtype
    kind = pick_dtype(weights_dtype, where)
    with quiet_libraries():
        folder = local_source(name_or_path, on_progress)
        with _refused_in_one_sentence(name_or_path, folder):
            home = home_of(card, where, kind, memory_bytes=memory_bytes)
            keep_freed(where)
            loader = _Loader(folder, where, home, kind, on_progress, scheme)
            pipeline = loader.pipeline(extras.vae, trailing=card.trailing)
            adapters = loader.adapters(card.mixers, extras.adapter, pipeline.unet)
            refiner = loader.refiner(extras.refiner, pipeline)
            preview = loader.preview(extras.preview, pipeline)
            superres = loader.superres() if card.has_superres else None
            upscalers, left_out = _upscalers(extras, where)
            conditions = ConditionNetworks(partial(load_condition, dtype=kind)) if card.conditions else None
            # Its weights are never quantized.
            x4 = _Loader(folder, where, home, kind, on_progress).x4(extras.x4, card)
            notes = revisions(extras)
            if notes:
                # The commits of what was fetched are known only now.
                card = find_card(name_or_path, device=device, dtype=dtype, extras=extras)
            model = Model(
                card=card,
                notes=(*notes, *left_out),
                pipeline=pipeline,
                adapters=adapters,
                refiner=refiner,
                preview=preview,
                superres=superres,
                upscalers=upscalers,
                conditions=conditions,
                device=pipeline.unet.device if home == where else where,
            )
            return model if x4 is None else model.with_x4(x4)


@contextmanager
def _refused_in_one_sentence(name_or_path: str, folder: Path) -> Iterator[None]:
    """Turn errors from reading damaged files into ModelUnavailable; restore torch's default dtype."""
    default_dtype = torch.get_default_dtype()
    try:
        yield
    except GspnError:
        raise
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(_why_not(name_or_path, folder, error)) from error
    finally:
        # Where diffusers cannot build a part from its config, it leaves that part's dtype as torch's default.
        torch.set_default_dtype(default_dtype)


class _Loader:
    """Reads parts in one dtype and moves each to its home as soon as it is read.

    Args:
        folder: the model's folder, or its file.
        where: the device that computes.
        home: where parts are kept between their calls: that device or the host.
        kind: the dtype of the parts.
        on_progress: called as bytes are fetched and read.
        scheme: how the UNet's weights are quantized, if they are.
    """

    def __init__(
        self,
        folder: Path,
        where: torch.device,
        home: torch.device,
        kind: torch.dtype,
        on_progress: OnProgress,
        scheme: Scheme | None = None,
    ) -> None:
        self.folder, self.where, self.home, self.kind = folder, where, home, kind
        self.on_progress, self.scheme = on_progress, scheme
        self.done_bytes = self.total_bytes = 0

    def pipeline(self, vae: str | None, *, trailing: bool = False) -> StableDiffusionXLPipeline:
        """Return the pipeline of the folder or file, with the VAE that is named if one is.

        trailing: its timesteps are spaced as few-step checkpoints need it.
        """
        vae_folder = extra_folder(vae, self.on_progress)
        found = self._from_file(vae_folder) if self.folder.is_file() else self._from_folder(vae_folder)
        if trailing:
            found.scheduler.register_to_config(timestep_spacing="trailing")
        return found

    def _from_folder(self, vae_folder: Path | None) -> StableDiffusionXLPipeline:
        folders = {name: self.folder / name for name in _PARTS}
        if vae_folder is not None:
            folders["vae"] = vae_folder
        half = self.kind != torch.float32
        weights = {name: part_weights(folder, prefer_half=half) for name, folder in folders.items()}
        self._check_memory(weights)
        self.total_bytes = sum(part.file_bytes for part in weights.values())
        dtypes = dict.fromkeys(_PARTS, self.kind)
        if vae_folder is None and not self._halves_vae(folders["vae"]):
            dtypes["vae"] = torch.float32
        parts = {
            name: self.part(name, folders[name], kind, weights[name], dtypes[name])
            for name, kind in _PARTS.items()
        }
        return self._joined(self.folder, parts)

    def _halves_vae(self, folder: Path) -> bool:
        """Return whether the VAE runs in bfloat16: on a CPU, where it is four times as fast."""
        on_cpu = self.where.type == "cpu" and self.kind == torch.bfloat16
        return on_cpu and read_json(folder / "config.json", str(folder)).get("force_upcast", True) is False

    def _from_file(self, vae_folder: Path | None) -> StableDiffusionXLPipeline:
        count, self.total_bytes = count_of(read_header(self.folder)), self.folder.stat().st_size
        weights = PartWeights(variant=None, files=(self.folder,), count=count)
        self._check_memory({"checkpoint": weights})
        vae = None if vae_folder is None else self.part("vae", vae_folder, AutoencoderKL)
        self._report("checkpoint")
        with config_folder(self.folder, lambda: fetched(SDXL_TOKENIZERS, self.on_progress)) as configs:
            parts = read_single_file(
                self.folder, configs, self.kind, vae, self._quantization(UNet2DConditionModel)
            )
            pipeline = self._joined(configs, {name: self._ready(part) for name, part in parts.items()})
        self.done_bytes += weights.file_bytes
        self._report("checkpoint")
        return pipeline

    def part(
        self,
        name: str,
        folder: Path,
        cls: type,
        weights: PartWeights | None = None,
        dtype: torch.dtype | None = None,
    ) -> nn.Module:
        """Return one part at home; raise ModelUnavailable if its weights do not match its config."""
        if weights is None:
            weights = part_weights(folder, prefer_half=self.kind != torch.float32)
            self.total_bytes += weights.file_bytes
        self._report(name)
        module, report = cls.from_pretrained(
            folder,
            dtype=dtype or self.kind,
            variant=weights.variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **self._quantization(cls),
        )
        missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if missing:
            raise ModelUnavailable(
                f"{folder} lacks {missing[0]} and {len(missing) - 1} more tensors of its config; "
                "copy the whole model again."
            )
        self.done_bytes += weights.file_bytes
        self._report(name)
        return self._ready(module)

    def _quantization(self, cls: type) -> dict[str, Any]:
        """Return diffusers' option that quantizes a UNet's weights, none for other parts."""
        if self.scheme is None or cls is not UNet2DConditionModel:
            return {}
        return {"quantization_config": diffusers_config(self.scheme, self.kind)}

    def adapters(
        self, mixers: Sequence[str], extra: str | None, unet: UNet2DConditionModel
    ) -> dict[str, GSPNAdapter | LinearAdapter]:
        """Return by mixer the adapters of the folder, and the one of the extra in place of its own."""
        folders = {mixer: self.folder / name for mixer, name in ADAPTER_FOLDERS.items() if mixer in mixers}
        folders = {mixer: folder for mixer, folder in folders.items() if folder.is_dir()}
        given = extra_folder(extra, self.on_progress)
        if given is not None:
            folders[adapter_mixer(given)] = given
        adapters = {mixer: _ADAPTERS[mixer].load(folder, unet) for mixer, folder in folders.items()}
        for adapter in adapters.values():
            adapter.to(device=self.home, dtype=self.kind)
        return adapters

    def preview(self, extra: str | None, pipeline: StableDiffusionXLPipeline) -> AutoencoderTiny | None:
        """Return the small decoder that is named, which stays on the device; None if none is."""
        folder = extra_folder(extra, self.on_progress)
        if folder is None:
            return None
        decoder = self.part("preview", folder, AutoencoderTiny)
        check_latents(f"the preview's decoder in {folder}", decoder.config, pipeline.unet.config)
        return decoder.to(self.where)

    def superres(self) -> Upscaler:
        """Return the folder's super-resolution network, in float32 and always on the device."""
        self._report("superres")
        return Upscaler(load_network(self.folder / SUPERRES_FOLDER).to(self.where))

    def refiner(self, extra: str | None, pipeline: StableDiffusionXLPipeline) -> UNet2DConditionModel | None:
        """Return the UNet of the refiner that is named, checked against the pipeline; None if none is."""
        folder = extra_folder(extra, self.on_progress)
        if folder is None:
            return None
        unet = self.part("refiner", folder / "unet", UNet2DConditionModel)
        check_refiner(folder, unet.config, pipeline.text_encoder_2.config)
        return unet

    def x4(self, extra: str | None, card: ModelCard) -> Model | None:
        """Return the x4 upscaler that is named, as a model of its own family; None if none is."""
        folder = extra_folder(extra, self.on_progress)
        if folder is None:
            return None
        text_encoder = self.part("text_encoder", folder / "text_encoder", CLIPTextModel)
        unet = self.part("unet", folder / "unet", UNet2DConditionModel)
        pipeline = StableDiffusionUpscalePipeline(
            vae=self.part("vae", folder / "vae", AutoencoderKL, dtype=torch.float32),
            text_encoder=text_encoder,
            tokenizer=self._tokenizer(folder / "tokenizer", text_encoder),
            unet=unet,
            low_res_scheduler=DDPMScheduler.from_pretrained(folder / "low_res_scheduler"),
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
        )
        pipeline.set_progress_bar_config(disable=True)
        return Model(card=card, pipeline=pipeline, family="x4", device=self.where)

    def _ready(self, module: nn.Module) -> nn.Module:
        """Return a part at home, without gradients."""
        module = module.to(self.home).eval().requires_grad_(False)
        if isinstance(module, (UNet2DConditionModel, AutoencoderKL)):
            module = module.to(memory_format=torch.channels_last)
        copy_mapped(module)
        return module

    def _joined(self, configs: Path, parts: dict[str, nn.Module]) -> StableDiffusionXLPipeline:
        """Return the pipeline of ready parts, with the tokenizers and the scheduler of a folder."""
        check_parts(self.folder, {name: part.config for name, part in parts.items()})
        index = read_json(configs / "model_index.json", str(configs))
        pipeline = StableDiffusionXLPipeline(
            **parts,
            tokenizer=self._tokenizer(configs / "tokenizer", parts["text_encoder"]),
            tokenizer_2=self._tokenizer(configs / "tokenizer_2", parts["text_encoder_2"]),
            scheduler=EulerDiscreteScheduler.from_pretrained(configs / "scheduler"),
            force_zeros_for_empty_prompt=bool(index.get("force_zeros_for_empty_prompt", True)),
            add_watermarker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _tokenizer(self, folder: Path, encoder: nn.Module) -> CLIPTokenizer:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        if len(tokenizer) != encoder.config.vocab_size:
            raise ModelUnavailable(
                f"a tokenizer in {self.folder} has {len(tokenizer)} words and its text encoder "
                f"{encoder.config.vocab_size}; copy the folder again."
            )
        return tokenizer

    def _report(self, part: str) -> None:
        self.on_progress(
            ModelProgress(doing="read", part=part, done_bytes=self.done_bytes, total_bytes=self.total_bytes)
        )

    def _check_memory(self, weights: dict[str, PartWeights]) -> None:
        """Raise ModelUnavailable if the weights do not fit in this machine's memory."""
        item = torch.empty(0, dtype=self.kind).element_size()
        needs = {name: part.count * (4 if name == "vae" else item) for name, part in weights.items()}
        if self.scheme is not None:
            unet = self.folder if self.folder.is_file() else self.folder / "unet"
            linear = self.scheme.quantized(linear_layers(unet))
            saved = linear.numbers * item - linear.kept_bytes
            needs["checkpoint" if self.folder.is_file() else "unet"] -= saved
        # A GPU gets part after part; what is in this machine's own memory at a time is the largest.
        on_cpu = self.home.type == "cpu"
        need = (sum(needs.values()) if on_cpu else max(needs.values())) * (1 + _SPARE_SHARE)
        free = psutil.virtual_memory().available
        if need > free:
            dtype = str(self.kind).removeprefix("torch.")
            hint = (
                "--dtype bfloat16 halves that" if self.kind == torch.float32 else "--model world needs less"
            )
            raise ModelUnavailable(
                f"{self.folder} needs {need / 1e9:.1f} GB of memory in {dtype} and {free / 1e9:.1f} GB are "
                f"free; close other programs, or {hint}."
            )


def _upscalers(extras: Extras, where: torch.device) -> tuple[EsrganModels | None, tuple[str, ...]]:
    """Return the upscaler models that are named, and a sentence for each file that is none."""
    if extras.upscalers is None:
        return None, ()
    files, _, others = find_upscalers(extras.upscalers)
    return EsrganModels(files, where), others


def _why_not(name: str, folder: Path, error: Exception) -> str:
    remedy = "get the repository again" if name in embedded_folders() else "copy the folder again"
    if not folder.exists():
        return f"model {name} is no longer at {folder}; put it back, or choose another with --model."
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"model {name} cannot be loaded from {folder}: {reason}; {remedy}."
