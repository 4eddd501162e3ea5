"""A package that keeps weights in eight bits, for tests on machines that have none of the real ones.

Like them it plugs into diffusers: a configuration names it, and its quantiser puts its own kind of tensor
in place of each linear layer's weight, of which only the layer itself can make use.
"""

from __future__ import annotations

import torch
from diffusers.quantizers.base import DiffusersQuantizer
from diffusers.quantizers.quantization_config import QuantizationConfigMixin, QuantizationMethod
from torch import nn
from torch.nn import functional


class EightBits(nn.Parameter):
    """Integers of eight bits with a scale for each row."""

    def __new__(cls, full):
        scale = full.abs().amax(1, keepdim=True).float() / 127
        kept = super().__new__(cls, (full.float() / scale).round().to(torch.int8), requires_grad=False)
        kept.scale = scale
        return kept


class EightBitLinear(nn.Linear):
    """Computes with a weight of eight bits; reading that weight gives integers."""

    def forward(self, x):
        full = (self.weight.float() * self.weight.scale).to(self.compute_dtype)
        return functional.linear(x, full, self.bias)


class Config(QuantizationConfigMixin):
    """As diffusers' configurations are, without options."""

    def __init__(self, kept_whole):
        # diffusers knows no other names; the test puts the quantiser below in this one's place.
        self.quant_method, self.kept_whole = QuantizationMethod.TORCHAO, kept_whole

    def to_dict(self):
        return {"quant_method": self.quant_method.value}

    to_diff_dict = to_dict


class Quantizer(DiffusersQuantizer):
    """Quantises each linear layer's weight as it is read."""

    requires_calibration = False

    def validate_environment(self, *_args, **_kwargs):
        pass

    def update_torch_dtype(self, torch_dtype):
        self.dtype = torch_dtype
        return torch_dtype

    def check_if_quantized_param(self, model, _value, param_name, _state, **_):
        name, _, kind = param_name.rpartition(".")
        is_kept = any(mark in name for mark in self.quantization_config.kept_whole)
        return kind == "weight" and not is_kept and isinstance(model.get_submodule(name), nn.Linear)

    def create_quantized_param(self, model, param_value, param_name, *_args, **_kwargs):
        layer = model.get_submodule(param_name.rpartition(".")[0])
        layer.__class__, layer.compute_dtype = EightBitLinear, self.dtype
        layer._parameters["weight"] = EightBits(param_value)

    def _process_model_before_weight_loading(self, model, **_):
        model.config.quantization_config = self.quantization_config

    def _process_model_after_weight_loading(self, model, **_):
        return model

    @property
    def is_serializable(self):
        return False

    @property
    def is_trainable(self):
        return False
