"""The names of published files, read back to the layers of SDXL's UNet and text encoders."""

import pytest

from gspn_core.lora.keys import aliases, family_of, original_path, other_method, pairs_of, split_key

SDXL = {"layers_per_block": 2, "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}

# Layers as files of kohya's sd-scripts for SDXL name them, and diffusers' names of the same.
PUBLISHED = [
    ("lora_unet_input_blocks_0_0", "unet", "conv_in"),
    ("lora_unet_input_blocks_1_0_in_layers_2", "unet", "down_blocks.0.resnets.0.conv1"),
    ("lora_unet_input_blocks_3_0_op", "unet", "down_blocks.0.downsamplers.0.conv"),
    ("lora_unet_input_blocks_4_0_skip_connection", "unet", "down_blocks.1.resnets.0.conv_shortcut"),
    ("lora_unet_input_blocks_4_0_emb_layers_1", "unet", "down_blocks.1.resnets.0.time_emb_proj"),
    ("lora_unet_input_blocks_4_1_proj_in", "unet", "down_blocks.1.attentions.0.proj_in"),
    (
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "unet",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    ),
    (
        "lora_unet_input_blocks_8_1_transformer_blocks_9_ff_net_0_proj",
        "unet",
        "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.0.proj",
    ),
    (
        "lora_unet_middle_block_1_transformer_blocks_3_attn2_to_out_0",
        "unet",
        "mid_block.attentions.0.transformer_blocks.3.attn2.to_out.0",
    ),
    ("lora_unet_middle_block_2_out_layers_3", "unet", "mid_block.resnets.1.conv2"),
    (
        "lora_unet_output_blocks_2_1_transformer_blocks_0_attn2_to_k",
        "unet",
        "up_blocks.0.attentions.2.transformer_blocks.0.attn2.to_k",
    ),
    ("lora_unet_output_blocks_2_2_conv", "unet", "up_blocks.0.upsamplers.0.conv"),
    ("lora_unet_output_blocks_5_1_proj_out", "unet", "up_blocks.1.attentions.2.proj_out"),
    ("lora_unet_output_blocks_8_0_in_layers_2", "unet", "up_blocks.2.resnets.2.conv1"),
    ("lora_unet_time_embed_0", "unet", "time_embedding.linear_1"),
    ("lora_unet_label_emb_0_2", "unet", "add_embedding.linear_2"),
    ("lora_unet_out_2", "unet", "conv_out"),
    (
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        "unet",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    ),
    (
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
        "text_encoder",
        "text_model.encoder.layers.0.self_attn.q_proj",
    ),
    (
        "lora_te2_text_model_encoder_layers_31_mlp_fc1",
        "text_encoder_2",
        "text_model.encoder.layers.31.mlp.fc1",
    ),
]


@pytest.mark.parametrize(("name", "part", "path"), PUBLISHED)
def test_a_published_name_is_one_of_its_layers(name, part, path):
    assert name in set(aliases(part, path, SDXL))


@pytest.mark.parametrize(
    ("key", "layer", "role"),
    [
        ("lora_unet_input_blocks_4_1_proj_in.lora_down.weight", "lora_unet_input_blocks_4_1_proj_in", "down"),
        ("lora_unet_input_blocks_4_1_proj_in.alpha", "lora_unet_input_blocks_4_1_proj_in", "alpha"),
        ("unet.mid_block.attentions.0.proj_in.lora_B.weight", "unet.mid_block.attentions.0.proj_in", "up"),
        ("base_model.model.unet.conv_in.lora_A.weight", "unet.conv_in", "down"),
        ("unet.a.attn1.processor.to_out_lora.up.weight", "unet.a.attn1.to_out.0", "up"),
        ("unet.a.attn1.to_q.lora.down.weight", "unet.a.attn1.to_q", "down"),
        ("text_encoder.b.q_proj.lora_linear_layer.up.weight", "text_encoder.b.q_proj", "up"),
    ],
)
def test_a_tensor_is_split_into_its_layer_and_its_part(key, layer, role):
    assert split_key(key) == (layer, role)


def test_a_layer_that_single_files_do_not_have_has_no_original_name():
    assert original_path("down_blocks.x.y", SDXL) is None
    assert original_path("encoder_hid_proj", SDXL) is None


def test_tensors_that_make_no_product_are_unknown():
    shapes = {
        "a.lora_down.weight": (4, 8),
        "a.lora_up.weight": (16, 4),
        "a.alpha": (),
        "b.lora_down.weight": (4, 8),
        "c.lora_down.weight": (4, 8),
        "c.lora_up.weight": (16, 5),
        "d.lora_down.weight": (4, 8, 3, 3),
        "d.lora_up.weight": (16, 4, 1, 1),
        "e.bias": (3,),
    }
    pairs, unknown = pairs_of(shapes)
    assert set(pairs) == {"a", "d"}
    assert pairs["a"].numbers == 128 and pairs["d"].numbers == 16 * 8 * 9
    assert set(unknown) == {"b.lora_down.weight", "c.lora_down.weight", "c.lora_up.weight", "e.bias"}


@pytest.mark.parametrize(
    ("key", "method"),
    [
        ("lora_unet_x.hada_w1_a", "LoHa"),
        ("lora_unet_x.lokr_w1", "LoKr"),
        ("lora_unet_x.dora_scale", "DoRA"),
        ("unet.x.lora_magnitude_vector", "DoRA"),
        ("lora_unet_x.lora_mid.weight", "LoCon with a third matrix"),
        ("lora_unet_x.oft_blocks", "OFT"),
        ("lora_unet_x.diff", "full difference"),
        ("lora_unet_x.lora_up.weight", None),
    ],
)
def test_other_methods_are_known_by_name(key, method):
    assert other_method(["a.alpha", key]) == method


@pytest.mark.parametrize(
    ("layer", "width", "family"),
    [
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, "SDXL"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, "SD 1.5"),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v", 1024, "SD 2"),
        ("lora_unet_double_blocks_0_img_attn_qkv", 3072, "FLUX"),
        ("transformer.single_transformer_blocks.0.attn.to_q", 3072, "FLUX"),
        ("transformer.transformer_blocks.0.attn.to_q", 1536, "a transformer model"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", 768, "SD 1.5"),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768, ""),
    ],
)
def test_the_family_of_a_file_is_read_from_names_and_shapes(layer, width, family):
    pairs, _ = pairs_of({f"{layer}.lora_down.weight": (4, width), f"{layer}.lora_up.weight": (64, 4)})
    assert family_of(pairs)[0] == family
