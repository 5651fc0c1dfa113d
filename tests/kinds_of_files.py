"""A table of the names in files of every kind, and what they mean."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]

UNET = "model.diffusion_model."
_WHOLE = {
    f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
}


def unet(context: int, vector: int = 0, **more: tuple[int, ...]) -> Shapes:
    """The names of a whole model that tell its family. Those in ``more`` have "/" for "."."""
    key = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
    shapes = {**_WHOLE, key: (640, context)}
    if vector:
        shapes[f"{UNET}label_emb.0.0.weight"] = (1280, vector)
    return shapes | {name.replace("/", "."): shape for name, shape in more.items()}


def kohya(module: str, inputs: int, outputs: int = 320, rank: int = 4) -> Shapes:
    return {
        f"{module}.lora_down.weight": (rank, inputs),
        f"{module}.lora_up.weight": (outputs, rank),
        f"{module}.alpha": (),
    }


DOWN = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
_X = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
_PATH = "down_blocks.1.attentions.0.transformer_blocks.0.attn2"

# name -> (names and shapes, key of the kind, family)
FILES: dict[str, tuple[Shapes, str, str]] = {
    # ------------------------------------------------------------------------------------- LoRA
    "kohya SD1": (kohya(DOWN, 768), "lora", "Stable Diffusion 1"),
    "kohya SD2": (kohya(DOWN, 1024), "lora", "Stable Diffusion 2"),
    "kohya SDXL": (kohya(_X, 2048), "lora", "Stable Diffusion XL"),
    "kohya SDXL, diffusers paths": (kohya(DOWN, 2048), "lora", "Stable Diffusion XL"),
    "kohya refiner": (kohya(DOWN, 1536), "lora", "Stable Diffusion XL refiner"),
    "kohya text SD1 or XL": (
        kohya("lora_te_text_model_encoder_layers_0_mlp_fc1", 768), "lora",
        "Stable Diffusion 1, or Stable Diffusion XL's first text encoder",
    ),
    "kohya text SD2": (
        kohya("lora_te_text_model_encoder_layers_0_mlp_fc1", 1024), "lora", "Stable Diffusion 2"
    ),
    "kohya second text": (
        kohya("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280), "lora", "Stable Diffusion XL"
    ),
    "bmaltais": (
        kohya("lora_te_wrapped_transformer_text_model_encoder_layers_0_mlp_fc1", 1024), "lora",
        "Stable Diffusion 2",
    ),
    "wrong in the wild": (
        {"lora_unet_unet_down_blocks_1_attn2_to_k_lora_down.weight": (4, 768),
         "lora_unet_unet_down_blocks_1_attn2_to_k_lora_up.weight": (320, 4)},
        "lora", "Stable Diffusion 1",
    ),
    "LoHa": (
        {f"{DOWN}.hada_w{n}_a": (320, 4) for n in (1, 2)}
        | {f"{DOWN}.hada_w{n}_b": (4, 768) for n in (1, 2)}
        | {f"{DOWN}.alpha": ()},
        "lora", "Stable Diffusion 1",
    ),
    "LoKr": (
        {f"{DOWN}.lokr_w1": (8, 8), f"{DOWN}.lokr_w2_a": (40, 4), f"{DOWN}.lokr_w2_b": (4, 128),
         f"{DOWN}.alpha": ()},
        "lora", "Stable Diffusion 2",
    ),
    "OFT": ({f"{DOWN}.oft_blocks": (8, 40, 40), f"{DOWN}.alpha": ()}, "lora", ""),
    "IA3": ({f"{DOWN}.weight": (320,), f"{DOWN}.on_input": ()}, "lora", ""),
    "GLoRA": (
        {f"{DOWN}.{n}.weight": (4, 4) for n in ("a1", "a2", "b1", "b2")} | {f"{DOWN}.alpha": ()},
        "lora", "",
    ),
    "full": ({f"{_X}.diff": (640, 2048), f"{_X}.diff_b": (640,)}, "lora", "Stable Diffusion XL"),
    "PEFT": (
        {f"base_model.model.{_PATH}.to_k.lora_A.weight": (8, 1024),
         f"base_model.model.{_PATH}.to_k.lora_B.weight": (640, 8)},
        "lora", "Stable Diffusion 2",
    ),
    "diffusers": (
        {f"unet.{_PATH}.to_k.lora_A.weight": (8, 2048),
         f"unet.{_PATH}.to_k.lora_B.weight": (640, 8)},
        "lora", "Stable Diffusion XL",
    ),
    "diffusers 2023": (
        {f"unet.{_PATH}.to_k.lora.down.weight": (8, 768),
         f"unet.{_PATH}.to_k.lora.up.weight": (640, 8)},
        "lora", "Stable Diffusion 1",
    ),
    "diffusers 2022": (
        {f"{_PATH}.processor.to_k_lora.down.weight": (4, 768),
         f"{_PATH}.processor.to_k_lora.up.weight": (640, 4)},
        "lora", "Stable Diffusion 1",
    ),
    "diffusers text": (
        {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight":
         (4, 1024),
         "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight":
         (1024, 4)},
        "lora", "Stable Diffusion 2",
    ),
    "cloneofsimo": (
        {"unet:0:up": (320, 4), "unet:0:down": (4, 768), "text_encoder:0:up": (768, 4),
         "text_encoder:0:down": (4, 768), "<s1>": (768,)},
        "lora", "Stable Diffusion 1",
    ),
    "cloneofsimo, a list": (
        {"0": (320, 4), "1": (4, 320), "2": (640, 4), "3": (4, 768)}, "lora", "Stable Diffusion 1"
    ),
    "with words": (
        kohya(_X, 2048) | {"bundle_emb.puppet.string_to_param.*": (4, 768)}, "lora",
        "Stable Diffusion XL",
    ),
    "Flux LoRA": (kohya("lora_unet_double_blocks_0_img_attn_qkv", 3072), "lora", "Flux"),
    "Flux LoRA, diffusers": (
        {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (16, 3072),
         "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": (3072, 16)},
        "lora", "Flux",
    ),
    "SD3 LoRA": (kohya("lora_unet_joint_blocks_0_x_block_attn_qkv", 1536), "lora",
                 "Stable Diffusion 3"),
    "Wan LoRA": (
        {"diffusion_model.blocks.0.self_attn.q.lora_A.weight": (32, 5120),
         "diffusion_model.blocks.0.self_attn.q.lora_B.weight": (5120, 32)},
        "lora", "Wan",
    ),
    "motion LoRA": (
        {"down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
         ".attention_blocks.0.processor.to_q_lora.down.weight": (16, 320)},
        "motion_lora", "Stable Diffusion XL",
    ),
    # ------------------------------------------------------------------------ textual inversions
    "kohya word": ({"emb_params": (8, 768)}, "embedding", "Stable Diffusion 1"),
    "A1111 word": ({"string_to_param.*": (2, 1024)}, "embedding", "Stable Diffusion 2"),
    "diffusers word": ({"<cat-toy>": (1, 768)}, "embedding", "Stable Diffusion 1"),
    "diffusers word without brackets": ({"soejrd": (768,)}, "embedding", "Stable Diffusion 1"),
    "SDXL word": (
        {"clip_l": (4, 768), "clip_g": (4, 1280)}, "embedding", "Stable Diffusion XL"
    ),
    "replicate word": (
        {"text_encoders_0": (2, 768), "text_encoders_1": (2, 1280)}, "embedding",
        "Stable Diffusion XL",
    ),
    "private word": ({"emb": (3, 768), "emb2": (3, 1280)}, "embedding", "Stable Diffusion XL"),
    "T5 word": ({"t5": (4096,)}, "embedding", "Stable Diffusion 3 or Flux (T5)"),
    "bundle": (
        {f"bundle_emb.{name}.string_to_param.*": (2, 768) for name in "ab"}, "embedding_bundle",
        "Stable Diffusion 1",
    ),
    # -------------------------------------------------------------------------------- ControlNet
    "ControlNet, CompVis": (
        {"control_model.input_hint_block.0.weight": (16, 3, 3, 3),
         "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768)},
        "controlnet", "Stable Diffusion 1",
    ),
    "ControlNet, diffusers": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
         f"{_PATH}.to_k.weight": (640, 1024)},
        "controlnet", "Stable Diffusion 2",
    ),
    "ControlNet, SDXL, small": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
         "add_embedding.linear_1.weight": (1280, 2816), "controlnet_mid_block.bias": (1280,)},
        "controlnet", "Stable Diffusion XL",
    ),
    "ControlNet Union": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "task_embedding": (6, 320),
         f"{_PATH}.to_k.weight": (640, 2048)},
        "control_union", "Stable Diffusion XL",
    ),
    "Control-LoRA": (
        {"lora_controlnet": (0,), "input_hint_block.0.weight": (16, 3, 3, 3),
         "input_blocks.4.1.transformer_blocks.0.attn2.to_k.down": (128, 2048)},
        "control_lora", "",
    ),
    "ControlNet's difference": (
        {"difference": (), "control_model.input_hint_block.0.weight": (16, 3, 3, 3)},
        "control_difference", "",
    ),
    "ControlNet-XS": (
        {"control_model.control_model.input_blocks.0.0.weight": (32, 4, 3, 3)}, "control_xs", "",
    ),
    "LLLite": (
        {"lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight": (64, 640)},
        "lllite", "Stable Diffusion XL",
    ),
    "ControlNet of Flux": (
        {"controlnet_x_embedder.weight": (3072, 64), "controlnet_blocks.0.bias": (3072,)},
        "control_dit", "",
    ),
    "SparseCtrl": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
         "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight": (320,)},
        "sparse_control", "",
    ),
    # ---------------------------------------------------------------------------- other additions
    "T2I-Adapter": (
        {"body.0.block1.weight": (320, 320, 3, 3), "conv_in.weight": (320, 192, 3, 3)},
        "t2i_adapter", "Stable Diffusion 1",
    ),
    "T2I-Adapter, diffusers": (
        {"adapter.body.0.resnets.0.block1.weight": (320, 320, 3, 3),
         "adapter.conv_in.weight": (320, 768, 3, 3)},
        "t2i_adapter", "Stable Diffusion XL",
    ),
    "IP-Adapter": (
        {"image_proj.proj.weight": (3072, 1024), "ip_adapter.1.to_k_ip.weight": (320, 768)},
        "ip_adapter", "Stable Diffusion 1",
    ),
    "motion module": (
        {"down_blocks.0.motion_modules.0.temporal_transformer.norm.weight": (320,),
         "down_blocks.3.motion_modules.0.temporal_transformer.norm.weight": (1280,)},
        "motion", "Stable Diffusion 1",
    ),
    "hypernetwork": (
        {"768.0.linear.0.weight": (1536, 768), "320.0.linear.0.weight": (640, 320)},
        "hypernetwork", "",
    ),
    # -------------------------------------------------------------------------------------- parts
    "VAE, CompVis": (
        {"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, 4, 3, 3)},
        "autoencoder", "Stable Diffusion 1, 2 or XL",
    ),
    "VAE of a whole model": (
        {"first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3)}, "autoencoder", ""
    ),
    "VAE of Flux": (
        {"encoder.down.0.block.0.conv1.weight": (128, 128, 3, 3),
         "decoder.conv_in.weight": (512, 16, 3, 3)},
        "autoencoder", "Stable Diffusion 3 or Flux",
    ),
    "VAE of Wan": ({"decoder.middle.0.residual.0.gamma": (384, 1, 1, 1)}, "vae_wan", ""),
    "VAE of videos": (
        {"decoder.mid.block_1.mix_factor": (1,), "decoder.conv_in.weight": (512, 4, 3, 3)},
        "vae_video", "",
    ),
    "DC-AE": ({"decoder.stages.1.op_list.0.main.conv.conv.bias": (8,)}, "vae_dc", ""),
    "TAESD": ({"1.weight": (64, 4, 3, 3), "3.conv.0.weight": (64, 64, 3, 3)}, "taesd", ""),
    "TAESD encoder": ({"0.weight": (64, 3, 3, 3), "1.conv.0.weight": (64, 64, 3, 3)}, "taesd", ""),
    "TAESD, ComfyUI": (
        {"taesd_decoder.1.weight": (64, 4, 3, 3), "taesd_encoder.0.weight": (64, 3, 3, 3)},
        "taesd", "",
    ),
    "any layers": ({"encoder.0.weight": (64, 3), "decoder.0.weight": (3, 64)}, "unknown", ""),
    "TAESD, diffusers": ({"decoder.layers.1.weight": (64, 4, 3, 3)}, "taesd", ""),
    "VAE-approx": (
        {f"conv{n}.weight": (8, 4, 7, 7) for n in range(1, 9)}, "vae_approx", ""
    ),
    "UNet, diffusers": ({f"{_PATH}.to_k.weight": (640, 768)}, "unet", "Stable Diffusion 1"),
    "UNet, CompVis": ({"input_blocks.0.0.weight": (320, 4, 3, 3)}, "unet", ""),
    "EMA": (
        {"model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3), "model_ema.decay": ()},
        "ema", "",
    ),
    "CLIP-L": (
        {"text_model.embeddings.token_embedding.weight": (49408, 768)}, "text_encoder",
        "CLIP-L, of Stable Diffusion 1 and the first of Stable Diffusion XL",
    ),
    "OpenCLIP-H": (
        {"token_embedding.weight": (49408, 1024), "positional_embedding": (77, 1024)},
        "text_encoder", "OpenCLIP-H, of Stable Diffusion 2",
    ),
    "bigG": (
        {"text_model.embeddings.token_embedding.weight": (49408, 1280)}, "text_encoder",
        "OpenCLIP-bigG, the second of Stable Diffusion XL",
    ),
    "T5": ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}, "t5", ""),
    "image encoder": ({"vision_model.embeddings.class_embedding": (1280,)}, "image_encoder", ""),
    "image encoder, OpenCLIP": ({"visual.proj": (1280, 1024)}, "image_encoder", ""),
    "whole CLIP": (
        {"text_model.embeddings.token_embedding.weight": (49408, 768),
         "vision_model.embeddings.class_embedding": (1024,)},
        "clip", "",
    ),
    "safety checker": (
        {"concept_embeds": (17, 768), "visual_projection.weight": (768, 1024)}, "safety_checker", ""
    ),
    # ------------------------------------------------------------------------------ other models
    "Flux": ({f"{UNET}double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, "flux", ""),
    "Flux, diffusers": (
        {"single_transformer_blocks.0.proj_mlp.weight": (12288, 3072)}, "flux", ""
    ),
    "Flux 2": ({"double_stream_modulation_img.lin.weight": (8, 8)}, "flux2", ""),
    "Chroma": ({"distilled_guidance_layer.norms.0.scale": (8,)}, "chroma", ""),
    "SD3": ({f"{UNET}joint_blocks.0.context_block.attn.qkv.weight": (8, 8)}, "sd3", ""),
    "SD3, diffusers": ({"transformer_blocks.0.ff_context.net.0.proj.weight": (8, 8)}, "sd3", ""),
    "AuraFlow": ({"double_layers.0.attn.w1q.weight": (8, 8)}, "auraflow", ""),
    "cascade C": ({"clip_txt_mapper.weight": (2048, 1280)}, "cascade_c", ""),
    "cascade B": ({"down_blocks.1.0.channelwise.0.weight": (8, 640)}, "cascade_b", ""),
    "cascade A": ({"vquantizer.codebook.weight": (8192, 4)}, "vae_cascade", ""),
    "PixArt": ({"t_block.1.weight": (8, 8)}, "pixart", ""),
    "LTX": ({f"{UNET}patchify_proj.weight": (8, 8)}, "ltx", ""),
    "Mochi": ({"t5_yproj.weight": (8, 8)}, "mochi", ""),
    "Cosmos": ({"net.blocks.block0.blocks.0.block.attn.to_q.0.weight": (8, 8)}, "cosmos", ""),
    "Hunyuan DiT": ({"mlp_t5.0.weight": (8, 8)}, "hunyuan_dit", ""),
    "Hunyuan Video": (
        {f"{UNET}txt_in.individual_token_refiner.blocks.0.norm1.weight": (8,),
         f"{UNET}double_blocks.0.img_attn_qkv.weight": (8, 8)},
        "hunyuan_video", "",
    ),
    "Lumina": (
        {"cap_embedder.1.weight": (8, 8), "noise_refiner.0.attention.k_norm.weight": (8,)},
        "lumina", "",
    ),
    "Sana": ({"blocks.0.cross_attn.q_linear.weight": (8, 8)}, "sana", ""),
    "Wan": ({f"{UNET}head.modulation": (1, 2, 5120)}, "wan", ""),
    "CogVideoX": ({"patch_embed.text_proj.weight": (8, 8)}, "cogvideo", ""),
    "HiDream": ({"double_stream_blocks.0.block.adaLN_modulation.1.bias": (8,)}, "hidream", ""),
    "Qwen-Image": ({"transformer_blocks.0.img_mod.1.weight": (8, 8)}, "qwen_image", ""),
    "Stable Audio": ({"model.model.transformer.rotary_pos_emb.inv_freq": (8,)}, "stable_audio", ""),
    "ACE-Step": ({"genre_embedder.weight": (8, 8)}, "ace_step", ""),
    "SVD": (
        _WHOLE | {f"{UNET}input_blocks.1.1.time_stack.0.attn1.to_q.weight": (8, 8)}, "svd", ""
    ),
    "SVD, diffusers": (
        {"down_blocks.0.attentions.0.temporal_transformer_blocks.0.ff.net.2.bias": (8,)},
        "svd", "",
    ),
    "ModelScope": ({"down_blocks.0.temp_convs.0.conv1.0.weight": (8,)}, "text_to_video", ""),
    "Kolors": (
        {"encoder_hid_proj.weight": (2048, 4096), "add_embedding.linear_1.weight": (1280, 5632)},
        "kolors", "",
    ),
    "Kandinsky": (
        {"encoder_hid_proj.image_embeds.weight": (8, 1280),
         "down_blocks.1.attentions.0.add_k_proj.weight": (384, 768)},
        "kandinsky", "",
    ),
    "cascade's image encoder": ({"backbone.1.0.block.0.1.weight": (8,)}, "cascade_coder", ""),
    "unCLIP": (unet(1024, 2048), "unclip", ""),
    "unCLIP with its image encoder": (
        unet(1024, **{"embedder/model/visual/proj": (1280, 1024)}), "unclip", ""
    ),
    "AltDiffusion": (
        unet(768, **{"cond_stage_model/roberta/embeddings/word_embeddings/weight": (8, 8)}),
        "alt_diffusion", "",
    ),
    "Zero123": (unet(768, **{"cc_projection/weight": (768, 772)}), "zero123", ""),
    "controlled": (
        unet(768, **{"control_model/time_embed/0/weight": (1280, 320)}), "controlled", ""
    ),
    # ---------------------------------------------------------------------------- other networks
    "ESRGAN": ({"RRDB_trunk.0.RDB1.conv1.weight": (32, 64, 3, 3)}, "upscaler", ""),
    "ESRGAN, old": ({"model.1.sub.0.RDB1.conv1.0.weight": (32, 64, 3, 3)}, "upscaler", ""),
    "Real-ESRGAN": ({"params_ema.body.0.rdb1.conv1.weight": (32, 64, 3, 3)}, "upscaler", ""),
    "Real-ESRGAN, compact": (
        {"body.0.weight": (64, 3, 3, 3), "body.0.bias": (64,), "body.1.weight": (64,)},
        "upscaler", "",
    ),
    "SwinIR": (
        {"conv_first.weight": (180, 3, 3, 3),
         "layers.0.residual_group.blocks.0.norm1.weight": (180,)},
        "upscaler", "",
    ),
    "GFPGAN": ({"stylegan_decoder.style_mlp.1.weight": (512, 512)}, "face", ""),
    "SAM": ({"mask_decoder.iou_token.weight": (1, 256)}, "segmentation", ""),
    "language model": ({"model.embed_tokens.weight": (32000, 4096)}, "language_model", ""),
    # -------------------------------------------------------------------------------------- others
    "empty": ({}, "empty", ""),
    "unknown": ({"something.else": (1,), "another": (2, 3)}, "unknown", ""),
}  # fmt: skip
