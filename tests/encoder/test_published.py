"""Published encoders by name: random weights in each published layout give the publishing library's features, offline.

The recipes of the references are written out here as their publishers give them, apart from the presets.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import timm as timm_library
import torch
import yaml
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from torch import Tensor, nn
from torch.nn import functional as F

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.encoder import published
from tests.repository import ROOT

TILES = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5,) * 3, (0.5,) * 3
OPTIMUS = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)
LUNIT = (0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
GATED = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
Make = Callable[..., nn.Module]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("something reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def preset(name: str, **changes: Any) -> dict[str, Any]:
    node = yaml.safe_load((ROOT / "configs" / "encoder" / f"{name}.yaml").read_text())
    assert node.pop("_target_") == "medtrain.encoder.published"
    return node | changes


def built(name: str, weights: Path | str, depth: int = 1, **changes: Any) -> Any:
    """Build a preset, shallower than published so that tests are quick; all widths are the published ones."""
    node = preset(name)
    depths = {"depths": [2, 2]} if name == "ctranspath" else {"depth": depth}
    return published(**node | {"weights": str(weights), "arguments": node["arguments"] | depths} | changes)


def seen(size: int, stats: tuple, mode: str, resize: int | None = None) -> Tensor:
    """Prepare the tiles with torch's own functions, as the preset's page says."""
    x_BCHW = F.interpolate(TILES.permute(0, 3, 1, 2) / 255, (resize or size,) * 2, mode=mode, antialias=True).clamp(
        0, 1
    )
    edge = ((resize or size) - size) // 2
    x_BCHW = x_BCHW[..., edge : edge + size, edge : edge + size]
    mean, std = (torch.tensor(values)[:, None, None] for values in stats)
    return (x_BCHW - mean) / std


def shaken(network: nn.Module) -> nn.Module:
    """Give every tensor values that matter: biases, norms, LayerScale and class tokens too."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return network.eval()


def same(encoder: Any, reference: Callable[[Tensor], Tensor], x_BCHW: Tensor, *modules: nn.Module) -> None:
    """Compare features with the reference's, within 1e-6 of their spread where sums are not rounded to 32 bits.

    In 32 bits the order of a sum alone is worth as much, so there 1e-5 is what can be asked for.
    """

    def close(ours: Tensor, theirs: Tensor, atol: float) -> None:
        torch.testing.assert_close(ours / theirs.std(), theirs / theirs.std(), rtol=0, atol=atol)

    with torch.no_grad():
        torch.testing.assert_close(encoder.preprocessing(TILES), x_BCHW, rtol=0, atol=2e-6)
        close(encoder(TILES), reference(x_BCHW), 1e-5)
        for module in modules:
            module.double()
        theirs = reference(x_BCHW.double())
        assert theirs.dtype == torch.float64
        close(encoder.network.double()(x_BCHW.double()), theirs, 1e-6)


def vit(name: str, **arguments: Any) -> Make:
    return lambda **more: timm_library.create_model(name, **{"num_classes": 0, "global_pool": ""} | arguments | more)


def first(tokens: Tensor) -> Tensor:
    return tokens[:, 0]


def both(registers: int) -> Callable[[Tensor], Tensor]:
    return lambda tokens: torch.cat([tokens[:, 0], tokens[:, 1 + registers :].mean(1)], 1)


HUGE = {"img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, **GATED}
UNI2 = {"img_size": 224, "patch_size": 14, "num_heads": 24, "init_values": 1e-5, "embed_dim": 1536, "reg_tokens": 8,
        "mlp_ratio": 2.66667 * 2, "no_embed_class": True, **GATED}  # fmt: skip
GIGAPATH = {"img_size": 224, "patch_size": 16, "embed_dim": 1536, "num_heads": 24, "mlp_ratio": 5.33334}
TIMM: dict[str, tuple[Make, Callable[[Tensor], Tensor], int, tuple]] = {
    "uni": (vit("vit_large_patch16_224", init_values=1e-5), first, 1024, (224, IMAGENET, "bilinear")),
    "uni2": (vit("vit_giant_patch14_224", **UNI2), first, 1536, (224, IMAGENET, "bilinear")),
    "virchow": (vit("vit_huge_patch14_224", **HUGE), both(0), 2560, (224, IMAGENET, "bicubic")),
    "virchow2": (vit("vit_huge_patch14_224", **HUGE, reg_tokens=4), both(4), 2560, (224, IMAGENET, "bicubic")),
    "gigapath": (vit("vit_giant_patch14_dinov2", **GIGAPATH), first, 1536, (224, IMAGENET, "bicubic", 256)),
    "h_optimus_0": (vit("vit_giant_patch14_reg4_dinov2", img_size=224), first, 1536, (224, OPTIMUS, "bicubic")),
    "h_optimus_1": (vit("vit_giant_patch14_reg4_dinov2", img_size=224), first, 1536, (224, OPTIMUS, "bicubic")),
    "h0_mini": (
        vit("vit_base_patch14_reg4_dinov2", img_size=224, mlp_ratio=2.66667 * 2, **GATED),
        *(first, 768, (224, OPTIMUS, "bicubic")),
    ),
    "lunit_s8": (vit("vit_small_patch8_224"), first, 384, (224, LUNIT, "bicubic")),
    "lunit_s16": (vit("vit_small_patch16_224"), first, 384, (224, LUNIT, "bicubic")),
    "kaiko_s8": (vit("vit_small_patch8_224"), first, 384, (224, HALF, "bilinear")),
    "kaiko_s16": (vit("vit_small_patch16_224"), first, 384, (224, HALF, "bilinear")),
    "kaiko_b8": (vit("vit_base_patch8_224"), first, 768, (224, HALF, "bilinear")),
    "kaiko_b16": (vit("vit_base_patch16_224"), first, 768, (224, HALF, "bilinear")),
}


@pytest.mark.parametrize("name", TIMM)
def test_timms_layout_gives_timms_features(tmp_path: Path, name: str) -> None:
    make, pool, dim, view = TIMM[name]
    reference = shaken(make(depth=1))
    torch.save(reference.state_dict(), tmp_path / "pytorch_model.bin")
    encoder = built(name, tmp_path, depth=1)
    assert (
        encoder.dim == dim
        and encoder.loaded == f"{len(reference.state_dict())} of {len(reference.state_dict())} tensors loaded"
    )
    same(encoder, lambda x: pool(reference(x)), seen(*view), reference)


def hugging_face(kind: str, **config: Any) -> nn.Module:
    library = import_module("transformers")
    torch.manual_seed(0)
    configuration = getattr(library, f"{kind}Config")(num_hidden_layers=1, attn_implementation="eager", **config)
    return shaken(getattr(library, f"{kind}Model")(configuration))


V4 = {  # as files on the hub have it, whatever version reads them
    "layers.": "encoder.layer.", ".attention.q_proj.": ".attention.attention.query.",
    ".attention.k_proj.": ".attention.attention.key.", ".attention.v_proj.": ".attention.attention.value.",
    ".attention.o_proj.": ".attention.output.dense.",
}  # fmt: skip


def version_4(state: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Spell a state dict as transformers 4 wrote it, which is how the published files are spelt."""
    spelt: dict[str, Tensor] = {}
    for key, value in state.items():
        for new, old in V4.items():
            key = key if old in key else key.replace(new, old)
        if kind == "ViT":
            key = key.replace(".mlp.fc1.", ".intermediate.dense.").replace(".mlp.fc2.", ".output.dense.")
        spelt[key.replace(".mlp.down_proj.", ".mlp.weights_out.")] = value
    for key in [key for key in spelt if ".mlp.gate_proj." in key]:
        up = spelt.pop(key.replace("gate_proj", "up_proj"))
        spelt[key.replace("gate_proj", "weights_in")] = torch.cat([spelt.pop(key), up])
    return spelt


LARGE = {"hidden_size": 1024, "num_attention_heads": 16, "image_size": 224, "patch_size": 16}
GIANT = {"hidden_size": 1536, "num_attention_heads": 24, "image_size": 224, "patch_size": 14, "use_swiglu_ffn": True}
TRANSFORMERS: dict[str, tuple[str, dict[str, Any], Callable[[Tensor], Tensor], int, tuple]] = {
    "phikon": ("ViT", {}, first, 768, (224, IMAGENET, "bilinear")),
    "phikon_v2": ("Dinov2", LARGE, first, 1024, (224, IMAGENET, "bilinear")),
    "midnight": ("Dinov2", GIANT, both(0), 3072, (224, HALF, "bilinear")),
    "rad_dino": ("Dinov2", {"image_size": 518}, first, 768, (518, ((0.5307,) * 3, (0.2583,) * 3), "bicubic")),
}


@pytest.mark.parametrize(("name", "version"), [*((name, 4) for name in TRANSFORMERS), ("phikon", 5), ("midnight", 5)])
def test_transformers_layout_gives_transformers_features(tmp_path: Path, name: str, version: int) -> None:
    kind, config, pool, dim, view = TRANSFORMERS[name]
    reference = hugging_face(kind, **config)
    state = version_4(reference.state_dict(), kind) if version == 4 else reference.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "model.safetensors")
    encoder = built(name, tmp_path)
    assert encoder.dim == dim
    same(encoder, lambda x: pool(reference(pixel_values=x).last_hidden_state), seen(*view), reference)


def test_positions_of_another_size_are_resampled_as_transformers_does_it(tmp_path: Path) -> None:
    reference = hugging_face("Dinov2", image_size=518)
    save_file(version_4(reference.state_dict(), "Dinov2"), tmp_path / "model.safetensors")
    node = preset("rad_dino")
    encoder = built("rad_dino", tmp_path, preprocessing=node["preprocessing"] | {"size": 224})
    x_BCHW = seen(224, ((0.5307,) * 3, (0.2583,) * 3), "bicubic")
    assert "positions of 37 x 37 patches resampled to 16 x 16" in encoder.loaded
    with torch.no_grad():
        theirs = reference(pixel_values=x_BCHW).last_hidden_state[:, 0]
        torch.testing.assert_close(encoder(TILES), theirs, rtol=0, atol=1e-5 * float(theirs.std()))


def test_biomedclip_is_open_clips_image_part(tmp_path: Path) -> None:
    library = import_module("open_clip.timm_model")
    reference = shaken(library.TimmModel("vit_base_patch16_224", 512, pool="", proj="linear"))
    reference.trunk.blocks = reference.trunk.blocks[:1]
    texts = {"text.proj.weight": torch.zeros(3), "logit_scale": torch.zeros(())}
    state = {f"visual.{key}": value for key, value in reference.state_dict().items()}
    torch.save(state | texts, tmp_path / "open_clip_pytorch_model.bin")
    encoder = built("biomedclip", f"local-dir:{tmp_path}")
    assert encoder.dim == 512 and "2 of the file are not of this network" in encoder.loaded
    same(encoder, reference, seen(224, CLIP, "bicubic"), reference)


def test_conch_pools_as_open_clips_attention_does(tmp_path: Path) -> None:
    library = import_module("open_clip.transformer")
    trunk = shaken(timm_library.create_model("vit_base_patch16_224", num_classes=0, img_size=448, depth=1))
    pool, norm = shaken(library.AttentionalPooler(512, 768, 8, 1)), shaken(nn.LayerNorm(512))
    parts = {"trunk": trunk, "attn_pool_contrast": pool, "ln_contrast": norm}
    state = {f"visual.{part}.{key}": v for part, module in parts.items() for key, v in module.state_dict().items()}
    captions = library.AttentionalPooler(768, 768, 8, 256).state_dict()
    state |= {f"visual.attn_pool_caption.{key}": value for key, value in captions.items()}
    state |= {"visual.ln_caption.weight": torch.ones(768), "visual.proj_contrast": torch.ones(512, 512)}
    torch.save(
        state | {"text.cls_emb": torch.zeros(768), "logit_scale": torch.zeros(())}, tmp_path / "pytorch_model.bin"
    )
    encoder = built("conch", tmp_path, depth=1)
    same(encoder, lambda x: norm(pool(trunk.forward_features(x))[:, 0]), seen(448, CLIP, "bicubic"), trunk, pool, norm)


def test_ctranspath_is_a_swin_behind_convolutions(tmp_path: Path) -> None:
    """The stem by torch's functions; the rest by timm's Swin, whose own filter knows the old names."""
    swin = shaken(timm_library.create_model("swin_tiny_patch4_window7_224", num_classes=0, depths=(2, 2)))
    torch.manual_seed(2)
    weights = {
        "0": torch.randn(12, 3, 3, 3) / 5,
        "3": torch.randn(24, 12, 3, 3) / 10,
        "6": torch.randn(96, 24, 1, 1) / 5,
    }
    stem = {f"patch_embed.proj.{n}.weight": w for n, w in weights.items()} | {
        "patch_embed.proj.6.bias": torch.randn(96)
    }
    for place, width in (("1", 12), ("4", 24)):
        values = {"weight": torch.rand(width) + 0.5, "running_var": torch.rand(width) + 0.5}
        values |= {key: torch.randn(width) / 5 for key in ("bias", "running_mean")}
        stem |= {f"patch_embed.proj.{place}.{key}": value for key, value in values.items()}
    rest = {k: v for k, v in swin.state_dict().items() if not k.startswith("patch_embed.proj.")}
    old = {k.replace("layers.1.downsample", "layers.0.downsample"): v for k, v in rest.items()}
    index = {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.long)}
    torch.save({"model": old | stem | index}, tmp_path / "ctranspath.pth")
    encoder = built("ctranspath", tmp_path / "ctranspath.pth")
    swin.patch_embed.proj = nn.Identity()
    swin.patch_embed.strict_img_size = False
    swin.patch_embed.img_size = None

    def reference(x_BCHW: Tensor) -> Tensor:
        at = {key: value.to(x_BCHW.dtype) for key, value in stem.items()}
        for conv, norm in (("0", "1"), ("3", "4")):
            running = [at[f"patch_embed.proj.{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
            x_BCHW = F.conv2d(x_BCHW, at[f"patch_embed.proj.{conv}.weight"], None, 2, 1)
            x_BCHW = F.relu(F.batch_norm(x_BCHW, *running))
        return swin(F.conv2d(x_BCHW, at["patch_embed.proj.6.weight"], at["patch_embed.proj.6.bias"]))

    same(encoder, reference, seen(224, IMAGENET, "bilinear"), swin)


def test_a_gate_is_told_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    small = {"arguments": preset("uni")["arguments"] | {"depth": 1}}
    with pytest.raises(UsageError, match="MahmoodLab/UNI is behind a gate .*CC-BY-NC-ND-4.0.* no token; .*HF_TOKEN"):
        published(**preset("uni", **small))
    assert "licence: CC-BY-NC-ND-4.0" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"on no hub \(licence: GPL-3.0\); give their file"):
        published(**preset("ctranspath"))
    with pytest.raises(MedtrainError, match="owkin/phikon cannot be had .*; give a local file: encoder.weights=FILE"):
        published(**preset("phikon", arguments={"depth": 1}))
    assert "model.safetensors of owkin/phikon; licence: Owkin non-commercial" in capsys.readouterr().out


def test_a_folder_without_weights_and_wrong_words_are_answered(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the folder has none of pytorch_model.bin, model.safetensors"):
        built("uni", tmp_path)
    small = {"arguments": {"depth": 1}, "weights": "none"}
    for changes, message in (
        ({"preprocessing": {"sizes": 3}}, r"encoder.preprocessing.sizes: no such key; there are size, mean"),
        ({"preprocessing": {"resampling": "nearest"}}, "resampling=nearest: give bilinear or bicubic"),
        ({"preprocessing": {"size": 224, "resize": 200}}, "resize=200: it must be at least size=224"),
        ({"arguments": {"mlp_layer": "Swi"}}, "encoder.arguments.mlp_layer=Swi: it must be one of SwiGLUPacked, Mlp"),
    ):
        with pytest.raises(UsageError, match=message):
            published(**preset("uni", **small | changes))


def test_every_preset_tells_its_licence_and_loads_strictly(tmp_path: Path) -> None:
    names = [p.stem for p in (ROOT / "configs/encoder").glob("*.yaml") if "encoder.published" in p.read_text()]
    assert len(names) >= 20
    for name in names:
        node = preset(name)
        assert {"hub", "file", "licence", "gated"} == set(node["origin"]) and node["origin"]["licence"]
        assert {"size", "mean", "std", "resampling"} <= set(node["preprocessing"])
