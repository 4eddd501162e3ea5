"""The folder of LoRA files: what is there, of which model it is, and files that cannot be trusted."""

import json
import os
import struct

import pytest
import torch
from safetensors.torch import save_file

from gspn_core.errors import BadSetting, ModelUnavailable
from gspn_core.models.catalog import Extras, find_card
from gspn_core.models.lora_files import LoraFolder, inspect_lora
from gspn_core.models.random_lora import write_random_lora

LAYER = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"


def lora(width=2048, name=LAYER):
    return {f"{name}.lora_down.weight": torch.ones(4, width), f"{name}.lora_up.weight": torch.ones(8, 4)}


def written(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def test_files_are_listed_by_name_with_what_is_wrong_with_them(tmp_path):
    (tmp_path / "style").mkdir()
    save_file(lora(), tmp_path / "style" / "ink v1.0.safetensors")
    save_file(lora(768), tmp_path / "old.safetensors")
    save_file({f"{LAYER}.hada_w1_a": torch.ones(2, 2)}, tmp_path / "loha.safetensors")
    save_file({"model.diffusion_model.x": torch.ones(2)}, tmp_path / "whole.safetensors")
    save_file(lora(), tmp_path / "a,b.safetensors")
    (tmp_path / "notes.txt").write_text("no")
    found = {file.name: file.issue for file in LoraFolder(tmp_path, 2048).all()}
    assert found == {
        "ink v1.0": "",
        "old": "is a LoRA of SD 1.5",
        "loha": "is a LoHa and not a plain LoRA, the only kind that is read here",
        "whole": "holds no LoRA",
    }
    assert LoraFolder(tmp_path / "none", 2048).all() == ()


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path, monkeypatch):
    path = tmp_path / "ink.safetensors"
    save_file(lora(), path)
    folder, reads = LoraFolder(tmp_path, 2048), []
    from gspn_core.models import lora_files

    real = lora_files.read_header
    monkeypatch.setattr(lora_files, "read_header", lambda p: reads.append(p) or real(p))
    first = folder.digest("ink")
    assert folder.digest("ink") == first and len(reads) == 1
    save_file({key: tensor * 2 for key, tensor in lora().items()}, path)
    os.utime(path, (1, 1))
    assert folder.digest("ink") != first and len(reads) == 2
    path.unlink()
    with pytest.raises(BadSetting, match="ink cannot be read"):
        folder.digest("ink")


def test_of_equal_names_the_first_path_counts(tmp_path):
    for sub in ("b", "a"):
        (tmp_path / sub).mkdir()
        save_file(lora(), tmp_path / sub / "ink.safetensors")
    (file,) = LoraFolder(tmp_path, 2048).all()
    assert file.path == str(tmp_path / "a" / "ink.safetensors")


@pytest.mark.parametrize("kind", ["empty", "cut", "huge", "list", "negative", "text", "nested", "many"])
def test_a_hostile_file_is_damaged_and_nothing_else(kind, tmp_path):
    path = tmp_path / "ink.safetensors"
    save_file(lora(), path)
    whole = path.read_bytes()
    entry = {"dtype": "F32", "shape": [4, 2048], "data_offsets": [0, 4]}
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(whole[:-7])
        case "huge":
            path.write_bytes(struct.pack("<Q", 2**62) + whole[8:])
        case "list":
            written(path, b"[1, 2]")
        case "negative":
            written(path, {"a.lora_down.weight": {**entry, "shape": [-4, 2**70]}}, b"abcd")
        case "text":
            written(path, {"a.lora_down.weight": {**entry, "shape": "4"}}, b"abcd")
        case "nested":
            written(path, b"[" * 100_000)
        case "many":
            written(path, {f"t{i}": {**entry, "shape": [1]} for i in range(100_001)}, b"abcd")
    file = inspect_lora(path, 2048)
    assert file.issue in ("is damaged", "has too many tensors")


def test_a_random_lora_is_of_its_model_and_repeats_itself(tmp_path):
    for name in ("one", "two"):
        write_random_lora(tmp_path / f"{name}.safetensors", "world", seed=3)
    write_random_lora(tmp_path / "other.safetensors", "world", layout="diffusers")
    card = find_card("world", extras=Extras(loras=str(tmp_path)))
    files = card.loras.all()
    assert [file.issue for file in files] == ["", "", ""]
    assert files[0].layers == files[2].layers > 100
    assert files[0].numbers == files[2].numbers and files[0].self_attention_numbers > 0
    assert card.loras.digest("one") == card.loras.digest("two") != card.loras.digest("other")
    assert card.fingerprint == find_card("world").fingerprint
    with pytest.raises(ModelUnavailable, match="must be a new file"):
        write_random_lora(tmp_path / "one.safetensors", "world")
    with pytest.raises(ModelUnavailable, match="not a folder in diffusers' layout"):
        write_random_lora(tmp_path / "new.safetensors", str(tmp_path / "nowhere"))
