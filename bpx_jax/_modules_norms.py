"""Normalisations with parameters as plain dicts; see _module.py. First weights are 1, biases 0."""

import jax.numpy as jnp

from bpx.spec import require
from bpx_jax import _nn_normalization as _norms
from bpx_jax._module import Module, layer, profiled_layer


class _Norm(Module):
    def initializer(self, name):
        return ("ones", {}) if name == "weight" else ("zeros", {})


def _vectors(size, affine):
    return {"weight": (size,), "bias": (size,)} if affine else {}


@profiled_layer("layer_norm")
@layer
class LayerNorm(_Norm):
    """Over the last axis of x (*N D)."""

    features: int
    eps: float = 1e-5
    affine: bool = True

    def shapes(self):
        return _vectors(self.features, self.affine)

    def call(self, params, x, key, training):
        return _norms.layer_norm(x, params.get("weight"), params.get("bias"), eps=self.eps)


@profiled_layer("rms_norm")
@layer
class RMSNorm(_Norm):
    """Over the last axis of x (*N D); no bias."""

    features: int
    eps: float = 1e-6
    affine: bool = True

    def shapes(self):
        return {"weight": (self.features,)} if self.affine else {}

    def call(self, params, x, key, training):
        return _norms.rms_norm(x, params.get("weight"), eps=self.eps)


@profiled_layer("group_norm")
@layer
class GroupNorm(_Norm):
    """Over groups of the channels of x, which lie along `axis`."""

    num_groups: int
    num_channels: int
    eps: float = 1e-5
    affine: bool = True
    axis: int = 1

    def shapes(self):
        return _vectors(self.num_channels, self.affine)

    def call(self, params, x, key, training):
        options = {"num_groups": self.num_groups, "eps": self.eps, "axis": self.axis}
        return _norms.group_norm(x, params.get("weight"), params.get("bias"), **options)


@profiled_layer("instance_norm")
@layer
class InstanceNorm(_Norm):
    """Over the places of each channel of x, which lie along `axis`; keeps no statistics."""

    num_features: int
    eps: float = 1e-5
    affine: bool = False
    axis: int = 1

    def shapes(self):
        return _vectors(self.num_features, self.affine)

    def call(self, params, x, key, training):
        options = {"eps": self.eps, "axis": self.axis}
        return _norms.instance_norm(x, params.get("weight"), params.get("bias"), **options)


@layer
class BatchNorm(_Norm):
    """By the batch in training, else by the running statistics of the state, which are named as in
    torch (without num_batches_tracked) and move as bpx_jax.nn.batch_norm's `profile` says. Training
    without a state keeps no statistics."""

    num_features: int
    profile: str = "torch"
    momentum: float | None = None
    eps: float | None = None
    affine: bool = True
    axis: int = 1

    def shapes(self):
        return _vectors(self.num_features, self.affine)

    def init_state(self, dtype=None):
        dtype = jnp.zeros((), float if dtype is None else dtype).dtype
        size = (self.num_features,)
        return {"running_mean": jnp.zeros(size, dtype), "running_var": jnp.ones(size, dtype)}

    def step(self, params, x, state, key, training):
        given = state if state else None
        require(
            training or given is not None,
            "batch_norm: state is None, expected the running statistics where training is False",
        )
        running = given or self.init_state()
        y, mean, var = _norms.batch_norm(
            x,
            params.get("weight"),
            params.get("bias"),
            running["running_mean"],
            running["running_var"],
            training=training,
            profile=self.profile,
            momentum=self.momentum,
            eps=self.eps,
            axis=self.axis,
        )
        return y, {"running_mean": mean, "running_var": var} if given else {}
