"""Names of SDXL's tensors in the layout of the original code, which checkpoints in one file keep."""

from __future__ import annotations

import re

import torch

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_CLIP = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def original_tensors(pipeline) -> dict[str, torch.Tensor]:
    """Return a pipeline's tensors under their original names."""
    found = {}
    for name, tensor in _renamed(pipeline.unet.state_dict(), _unet_places(pipeline.unet)).items():
        found[f"model.diffusion_model.{name}"] = tensor
    for name, tensor in _vae(pipeline.vae).items():
        found[f"first_stage_model.{name}"] = tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        found[f"conditioner.embedders.0.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    for name, tensor in _open_clip(pipeline.text_encoder_2).items():
        found[f"conditioner.embedders.1.model.{name}"] = tensor
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _renamed(state, places):
    """Rename by the longest place that a name starts with; every tensor must have one."""
    found = {}
    for name, tensor in state.items():
        ours = max((place for place in places if name.startswith(place + ".")), key=len)
        rest = name[len(ours) :]
        if places[ours].endswith("@resnet"):
            inner = next(key for key, value in _RESNET.items() if rest.startswith(f".{value}."))
            rest = rest.replace(f".{_RESNET[inner]}.", f".{inner}.", 1)
        found[places[ours].removesuffix("@resnet") + rest] = tensor
    return found


def _unet_places(unet) -> dict[str, str]:
    places = {ours: theirs for theirs, ours in _ENDS.items()}
    number = 1
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            places[f"down_blocks.{i}.resnets.{j}"] = f"input_blocks.{number}.0@resnet"
            places[f"down_blocks.{i}.attentions.{j}"] = f"input_blocks.{number}.1"
            number += 1
        if block.downsamplers:
            places[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{number}.0.op"
            number += 1
    places |= {"mid_block.resnets.0": "middle_block.0@resnet", "mid_block.attentions.0": "middle_block.1"}
    places["mid_block.resnets.1"] = "middle_block.2@resnet"
    number = 0
    for i, block in enumerate(unet.up_blocks):
        attends = hasattr(block, "attentions")
        for j in range(len(block.resnets)):
            places[f"up_blocks.{i}.resnets.{j}"] = f"output_blocks.{number}.0@resnet"
            places[f"up_blocks.{i}.attentions.{j}"] = f"output_blocks.{number}.1"
            number += 1
        if block.upsamplers:
            places[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{number - 1}.{1 + attends}.conv"
    return places


def _vae(vae):
    last = len(vae.config.block_out_channels) - 1
    found = {}
    for name, tensor in vae.state_dict().items():
        new = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        new = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", new)
        new = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", new)
        new = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{last - int(m[1])}.block.", new)
        new = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{last - int(m[1])}.upsample", new)
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", new)
        if "mid_block.attentions.0" in new:
            new = new.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
            new = new.replace("to_out.0", "proj_out").replace("to_", "")
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        found[new] = tensor
    return found


def _open_clip(encoder):
    state = {name.removeprefix("text_model."): tensor for name, tensor in encoder.state_dict().items()}
    found = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state["text_projection.weight"].T,
    }
    for i in range(encoder.config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{i}", f"transformer.resblocks.{i}"
        for end in ("weight", "bias"):
            joined = [state[f"{ours}.self_attn.{part}_proj.{end}"] for part in "qkv"]
            found[f"{theirs}.attn.in_proj_{end}"] = torch.cat(joined)
            for new, old in _CLIP.items():
                found[f"{theirs}.{new}.{end}"] = state[f"{ours}.{old}.{end}"]
    return found
