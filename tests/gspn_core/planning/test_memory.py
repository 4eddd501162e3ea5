"""The predicted bytes and operations against diffusers' own classes, tensor by tensor."""

from __future__ import annotations

import pytest
import torch
from diffusers import ControlNetModel, T2IAdapter
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gspn_core.models.shapes import SDXL_SHAPES, count_parameters, unet_shapes, vae_shapes
from gspn_core.planning.condition_cost import condition_elements, residual_elements
from gspn_core.planning.conditions import ConditionFile
from gspn_core.planning.memory import Call, decode_cost, encode_cost, unet_cost


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations create while they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = [t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if torch.is_tensor(t)]
        self.live = {key: kept for key, kept in self.live.items() if not kept[0].expired()}
        for tensor in tree_leaves(out):
            if torch.is_tensor(tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in given:
                    self.live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(count for _, count in self.live.values()))
        return out


def live_peak(work) -> int:
    with torch.inference_mode(), LiveBytes() as live:
        work()
    return live.peak


@pytest.fixture(scope="module")
def unet(tiny_pipeline):
    return tiny_pipeline.unet


def call_unet(unet, side, rows):
    conditioning = {"text_embeds": torch.zeros(rows, 16), "time_ids": torch.zeros(rows, 6)}
    embeds = torch.zeros(rows, 77, 32)
    sample = torch.zeros(rows, 4, side, side)
    return lambda: unet(sample, torch.tensor(1.0), embeds, added_cond_kwargs=conditioning, return_dict=False)


@pytest.mark.parametrize(("side", "rows"), [(32, 2), (64, 1)])
def test_a_unet_calls_predicted_bytes_are_those_that_live(unet, side, rows):
    shapes = unet_shapes(unet.config, parameters=0)
    predicted = unet_cost(shapes, side, side, Call(rows=rows)).elements * 4
    assert predicted == pytest.approx(live_peak(call_unet(unet, side, rows)), rel=0.1)


@pytest.mark.parametrize(("side", "rows"), [(32, 2), (64, 1)])
def test_a_controlnets_predicted_bytes_are_those_that_live(unet, side, rows):
    hint = (4, 4, 8, 16)
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hint).requires_grad_(False)
    shapes = unet_shapes(unet.config, parameters=0)
    file = ConditionFile(name="", path="", shapes=shapes, hint_channels=hint)
    conditioning = {"text_embeds": torch.zeros(rows, 16), "time_ids": torch.zeros(rows, 6)}
    given = torch.zeros(rows, 4, side, side), torch.tensor(1.0), torch.zeros(rows, 77, 32)
    picture = torch.zeros(1, 3, 8 * side, 8 * side)

    def call():
        # As a stage calls it: the picture for each row.
        rows_of = picture.repeat(rows, 1, 1, 1)
        return network(*given, rows_of, added_cond_kwargs=conditioning, return_dict=False)

    predicted = condition_elements(file, 8 * side, 8 * side, Call(rows=rows)) * 4
    assert predicted == pytest.approx(live_peak(call), rel=0.15)
    down, mid = call()
    kept = sum(one.numel() for one in (*down, mid))
    assert residual_elements(file, 8 * side, 8 * side, Call(rows=rows)) == kept


def test_a_t2i_adapters_predicted_bytes_are_those_that_live():
    channels = (16, 32, 32, 32)
    network = T2IAdapter(3, list(channels), 2, 16, "full_adapter_xl").requires_grad_(False)
    file = ConditionFile(name="", path="", kind="T2I-Adapter", adapter_channels=channels, factor=16)
    maps = network(torch.zeros(1, 3, 512, 512))
    # One row is kept, and one is read by each half of the pair.
    assert residual_elements(file, 512, 512, Call(rows=2)) == 3 * sum(one.numel() for one in maps)
    predicted = condition_elements(file, 512, 512, Call(rows=2)) * 4
    assert predicted == pytest.approx(live_peak(lambda: network(torch.zeros(1, 3, 512, 512))), rel=0.15)


def test_the_autoencoders_predicted_bytes_are_those_that_live(tiny_pipeline):
    vae = tiny_pipeline.vae
    shapes = vae_shapes(vae.config, parameters=0)
    latents, sample = torch.zeros(1, 4, 16, 16), torch.zeros(1, 3, 128, 128)
    decoding = live_peak(lambda: vae.decode(latents, return_dict=False))
    encoding = live_peak(lambda: vae.encode(sample))
    assert decode_cost(shapes, 16, 16).elements * 4 == pytest.approx(decoding, rel=0.1)
    assert encode_cost(shapes, 128, 128).elements * 4 == pytest.approx(encoding, rel=0.1)


def test_sdxls_operations_are_those_that_scalediff_published():
    def tera(px, mixer):
        return unet_cost(SDXL_SHAPES.unet, px // 8, px // 8, Call(rows=1, mixer=mixer)).operations / 1e12

    full = [tera(px, "attention") for px in (1024, 2048, 4096, 8192)]
    near = [tera(px, "neighborhood") for px in (1024, 2048, 4096, 8192)]
    assert full == pytest.approx([6.8, 35.9, 287.8, 3459.9], rel=0.01)
    assert near == pytest.approx([6.8, 26.9, 107.4, 429.4], rel=0.01)


@pytest.mark.parametrize("choice", ["chunked", "skips_on_host"])
@pytest.mark.parametrize("px", [1024, 4096])
def test_each_saving_saves(choice, px):
    plain = unet_cost(SDXL_SHAPES.unet, px // 8, px // 8, Call(rows=1, mixer="neighborhood"))
    saving = unet_cost(
        SDXL_SHAPES.unet, px // 8, px // 8, Call(rows=1, mixer="neighborhood", **{choice: True})
    )
    assert saving.elements < plain.elements


def test_one_row_takes_half_of_what_the_pair_takes():
    pair, row = (unet_cost(SDXL_SHAPES.unet, 128, 128, Call(rows=rows)) for rows in (2, 1))
    assert row.elements * 2 == pair.elements
    assert row.operations * 2 == pytest.approx(pair.operations)


def test_parameters_are_counted_from_the_files_headers(tiny_pipeline, tmp_path):
    tiny_pipeline.unet.save_pretrained(tmp_path, safe_serialization=True)
    assert count_parameters(tmp_path) == sum(p.numel() for p in tiny_pipeline.unet.parameters())


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="is not a valid safetensors file"):
        count_parameters(tmp_path)
