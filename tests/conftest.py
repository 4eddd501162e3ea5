"""A tiny SDXL of random weights, on diffusers' and transformers' own classes, for tests without assets."""

from __future__ import annotations

import gc
import os
import socket
import string

# Workers of pytest-xdist share the processors; whoever starts a server or a thread pool inherits this.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A toy training tokenises hundreds of short batches, each of which would wait for the tokenizer's pool.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

# Folders whose tests share what takes long to make: a server, a training. One worker runs each of them.
_TOGETHER = {"browser": "browser", "training": "trained", "evaluation": "trained", "guard": "served"}
# Files of tests/browser that start servers of their own: they need not run on the worker of the others.
_APART = ("accessibility", "blind", "downloads", "examples", "keyboard", "measured", "model_menu", "pin")
_APART += ("presets", "restart", "suggestions")
# Tests of ten seconds and more: begun last, one of them would keep a worker busy while the others are idle.
_LONG = (
    "test_it_agrees_with_naive_in_the_interpreter",
    "test_a_cascade_runs_in_a_forked_process_and_can_be_stopped_there",
    "test_a_small_load_is_answered_stopped_and_paired",
    "test_a_drill_in_short[fuzz]",
    "test_the_process_that_compiles_gives_the_bits_of_one_that_loads",
)


def pytest_collection_modifyitems(items):
    """Put the longest tests first: pytest-xdist keeps this order, after the folders that one worker runs."""
    items.sort(key=lambda item: item.name not in _LONG)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Return a schedule that gives a folder which shares a costly fixture to one worker, the rest singly.

    pytest-xdist 3.8's own groups (`--dist loadgroup`) do nothing with pytest 9.2, whose node ids are fixed.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByCostlyFixture(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            *folders, file = nodeid.partition("::")[0].split("/")
            scope = next((_TOGETHER[folder] for folder in folders if folder in _TOGETHER), nodeid)
            is_apart = scope == "browser" and file.removeprefix("test_").removesuffix(".py") in _APART
            return "browser apart" if is_apart else scope

    return ByCostlyFixture(config, log)


def pytest_collection_finish():
    """Let garbage collections pass over what outlives every test: the modules and the tests themselves."""
    _freeze()


def pytest_unconfigure():
    """Let the interpreter take down everything as it ends."""
    gc.unfreeze()


def _freeze() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_pipeline():
    """Return a StableDiffusionXLPipeline whose UNet works on 8×8 latents (64 px)."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    tokenizer, text = _tiny_text()
    unet, vae = _tiny_unet(), _tiny_vae()
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=scheduler,
        add_watermarker=False,
    )
    for part in (vae, unet, pipeline.text_encoder, pipeline.text_encoder_2):
        part.eval().requires_grad_(False)
    # By now the modules that diffusers imports only when they are asked for are there too.
    _freeze()
    return pipeline


def _tiny_text():
    """Return a tokenizer of single letters, and the configuration of a text encoder that reads its tokens."""
    from transformers import CLIPTextConfig, CLIPTokenizer

    letters = [f"{letter}{end}" for end in ("", "</w>") for letter in string.ascii_lowercase]
    words = ["<|startoftext|>", "<|endoftext|>", *letters]
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return tokenizer, text


def _tiny_unet():
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8,
        use_linear_projection=True,
    )


def _tiny_vae():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.5,
        force_upcast=False,
    )


@pytest.fixture
def tiny_card():
    """Return the card that goes with the tiny pipeline: base 64 px, up to 512."""
    from gspn_core.planning.types import ModelCard

    return ModelCard(
        name="tiny",
        title="The tiny model",
        description="random weights",
        base_px=64,
        size_multiple=32,
        max_target_px=512,
        default_target_px=128,
        num_inference_steps=6,
        guidance_scale=3.0,
        upscale_strength=0.5,
        mixers=("gspn", "attention", "neighborhood", "linear"),
        has_refiner=True,
    )


@pytest.fixture(scope="session")
def tiny_refiner():
    """Return a refiner of random weights that reads the tiny pipeline's second text encoder."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(2)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        cross_attention_dim=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 5 * 8,
    )
    return unet.eval().requires_grad_(False)


@pytest.fixture
def tiny_model(tiny_pipeline, tiny_card, tiny_refiner):
    """Return the tiny pipeline as a Model with adapters of random weights, passed off as trained."""
    import torch

    from gspn_core.attention.gspn_adapter import GSPNAdapter
    from gspn_core.attention.linear_adapter import LinearAdapter
    from gspn_core.backbones.model import Model

    torch.manual_seed(1)
    adapters = {
        "gspn": GSPNAdapter.construct_for(tiny_pipeline.unet).train(False),
        "linear": LinearAdapter.construct_for(tiny_pipeline.unet),
    }
    for adapter in adapters.values():
        adapter.trained = True
    return Model(card=tiny_card, pipeline=tiny_pipeline, adapters=adapters, refiner=tiny_refiner)


@pytest.fixture
def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
