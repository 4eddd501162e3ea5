"""The dtype of training follows the processor."""

import pytest
import torch

from gspn_core.runtime import device
from gspn_core.training.precision import fast_autocast


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_training_step_computes_in_bfloat16_only_where_the_processor_has_it(monkeypatch, has, dtype):
    monkeypatch.setattr(device, "_cpu_has_bfloat16", lambda: has)
    layer = torch.nn.Linear(4, 4)
    with fast_autocast():
        assert layer(torch.ones(1, 4)).dtype == dtype
