import pytest
import torch

from gspn_core.errors import ModelUnavailable
from gspn_core.runtime.device import pick_device, pick_dtype, usable_cores


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch):
    for has_gpu, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        assert pick_device("auto").type == expected


def test_a_missing_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelUnavailable, match="use --device cpu"):
        pick_device("cuda")


def test_auto_takes_bfloat16_where_the_device_computes_in_it(monkeypatch):
    for capabilities, expected in (({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda answer=capabilities: answer)
        assert pick_dtype("auto", torch.device("cpu")) == expected
    assert pick_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert pick_dtype("float16", torch.device("cpu")) == torch.float16


def test_there_is_at_least_one_core():
    assert usable_cores() >= 1
