"""Layers and activations: defaults, the meaning of momentum, layouts, first values of parameters.

Sources: torch.nn and torch.nn.functional 2.13, flax.nnx 0.12.8 with jax.nn 0.10.2, keras 3.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, sqrt
from typing import Any

from bpx.profiles._profile import REQUIRED, Profile

ZEROS: tuple[str, Mapping[str, Any]] = ("zeros", {})
LECUN: tuple[str, Mapping[str, Any]] = ("lecun_normal", {})
GLOROT: tuple[str, Mapping[str, Any]] = ("xavier_uniform", {})
# uniform within 1 / sqrt(fan_in)
FAN_IN: tuple[str, Mapping[str, Any]] = ("kaiming_uniform", {"a": sqrt(5)})
WITHIN = "bias uniform within 1 / sqrt(fan_in)"


def _of_attention(packed: str, each: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """packed: of the rows of query, key and value, with the law of one of them."""
    one: tuple[str, Mapping[str, Any]] = (each, {})
    parts = {f"{p}_proj_weight": one for p in "qkv"}
    biases = {"in_proj_bias": ZEROS, "out_proj.bias": ZEROS}
    return {"in_proj_weight": (packed, {}), **parts, "out_proj.weight": one, **biases}


TURNED = {"in_axis": 0, "out_axis": 1}  # (in, out, *field), torch's transposed convolution


def _eps(torch: float, flax: float, keras: float | None, layers: str) -> dict[str, Profile]:
    names = dict(zip(("torch", "flax", "keras"), layers.split(), strict=False))
    values = {"torch": torch, "flax": flax} | ({} if keras is None else {"keras": keras})
    return {k: Profile({"eps": v}, name=names[k]) for k, v in values.items()}


TABLE: dict[str, Mapping[str, Profile]] = {
    "gelu": {
        "torch": Profile({"approximate": "none"}),
        "flax": Profile({"approximate": "tanh"}),
        "keras": Profile(
            {"approximate": "none"},
            note="keras.ops.gelu has approximate=True, the tanh; keras.activations.gelu has not",
        ),
    },
    "leaky_relu": {
        "torch": Profile({"negative_slope": 0.01}),
        "flax": Profile({"negative_slope": 0.01}),
        "keras": Profile({"negative_slope": 0.2}, module={"negative_slope": 0.3}),
    },
    "softplus": {
        "torch": Profile({"beta": 1.0, "threshold": 20.0}, note="x itself above threshold"),
        "flax": Profile({"beta": 1.0, "threshold": inf}),
        "keras": Profile({"beta": 1.0, "threshold": inf}),
    },
    "prelu": {
        "torch": Profile(initial={"weight": ("constant", {"val": 0.25})}),
        "flax": Profile(initial={"weight": ("constant", {"val": 0.01})}),
        "keras": Profile(
            initial={"weight": ZEROS}, note="one slope for every element, unless axes are shared"
        ),
    },
    "layer_norm": _eps(1e-5, 1e-6, 1e-3, "LayerNorm LayerNorm LayerNormalization"),
    "rms_norm": {
        "torch": Profile(
            {"eps": None},
            name="RMSNorm",
            note="None is the machine epsilon of the dtype computed in, float32 at least",
        ),
        "flax": Profile({"eps": 1e-6}, name="RMSNorm"),
        "keras": Profile({"eps": 1e-6}, name="RMSNormalization"),
    },
    "group_norm": {
        "torch": Profile({"eps": 1e-5, "num_groups": REQUIRED}, name="GroupNorm"),
        "flax": Profile({"eps": 1e-6, "num_groups": 32}, name="GroupNorm"),
        "keras": Profile({"eps": 1e-3, "num_groups": 32}, name="GroupNormalization"),
    },
    "instance_norm": _eps(1e-5, 1e-6, None, "InstanceNorm1d InstanceNorm"),
    "batch_norm": {
        "torch": Profile(
            {"eps": 1e-5, "momentum": 0.1, "of_batch": True, "unbiased": True},
            name="BatchNorm1d",
            note="new = (1 - momentum) running + momentum batch, with the variance over N - 1",
        ),
        "flax": Profile(
            {"eps": 1e-5, "momentum": 0.99, "of_batch": False, "unbiased": False},
            name="BatchNorm",
            note="new = momentum running + (1 - momentum) batch, with the variance over N",
        ),
        "keras": Profile(
            {"eps": 1e-3, "momentum": 0.99, "of_batch": False, "unbiased": False},
            name="BatchNormalization",
            note="as flax",
        ),
    },
    "dropout": {
        "torch": Profile({"p": 0.5}),
        "flax": Profile({"p": REQUIRED}),
        "keras": Profile({"p": REQUIRED}),
    },
    "linear": {
        "torch": Profile(initial={"weight": FAN_IN}, note=f"weight (out, in); {WITHIN}"),
        "flax": Profile(initial={"weight": LECUN, "bias": ZEROS}, note="kernel (in, out)"),
        "keras": Profile(initial={"weight": GLOROT, "bias": ZEROS}, note="kernel (in, out)"),
    },
    "conv": {
        "torch": Profile(
            {"padding": 0}, initial={"weight": FAN_IN}, note=f"weight (out, in, *W); {WITHIN}"
        ),
        "flax": Profile(
            {"padding": "same"},
            initial={"weight": LECUN, "bias": ZEROS},
            note="kernel (*W, in, out), channels last",
        ),
        "keras": Profile(
            {"padding": 0},
            initial={"weight": GLOROT, "bias": ZEROS},
            note="kernel (*W, in, out), channels last; padding valid",
        ),
    },
    "conv_transpose": {
        "torch": Profile(
            initial={"weight": FAN_IN},
            note=f"weight (in, out, *W); its fan-in counts the channels of y; {WITHIN}",
        ),
        "flax": Profile(
            initial={"weight": ("lecun_normal", TURNED), "bias": ZEROS},
            note="kernel (*W, in, out), not turned round unless transpose_kernel; padding same",
        ),
        "keras": Profile(
            initial={"weight": ("xavier_uniform", TURNED), "bias": ZEROS},
            note="kernel (*W, out, in); padding valid",
        ),
    },
    "embedding": {
        "torch": Profile(initial={"weight": ("normal", {})}),
        "flax": Profile(
            initial={
                "weight": (
                    "variance_scaling",
                    {"distribution": "normal", "in_axis": 0, "out_axis": 0},
                )
            },
            note="variance 1 / D",
        ),
        "keras": Profile(initial={"weight": ("uniform", {"a": -0.05, "b": 0.05})}),
    },
    "attention": {
        "torch": Profile(
            {"heads_axis": -3},
            module={"mask_keeps": False},
            note="(B, H, T, D); True of a boolean mask keeps in scaled_dot_product_attention and "
            "leaves out in MultiheadAttention; a row without a key is NaN (here 0); at first "
            "xavier_uniform of the packed (3E, E), out_proj uniform within 1 / sqrt(E), biases 0",
        ),
        "flax": Profile(
            {"heads_axis": -2},
            module={"mask_keeps": True},
            note="(B, T, H, D); True keeps; a row without a key is the mean of values (here 0)",
            initial=_of_attention("lecun_normal", "lecun_normal"),
        ),
        "keras": Profile(
            {"heads_axis": -2},
            module={"mask_keeps": True},
            note="(B, T, H, D); True keeps; a row without a key is the mean of values (here 0)",
            initial=_of_attention("lecun_uniform", "xavier_uniform"),  # each part is (E, E) there
        ),
    },
    "cosine_similarity": {
        "torch": Profile({"eps": 1e-8}),
        "optax": Profile({"eps": 0.0}, note="NaN in value and gradient for a row of zeros"),
    },
}
