"""The normalisations of torch.nn over the rules of bpx, re-exported by bpx_torch.nn.

Each derives from its namesake and replaces `forward` alone. What differs from torch is said in
bpx_torch/_functional_normalization.py.
"""

import torch

from bpx.spec import require
from bpx_torch import _functional_normalization as F
from bpx_torch._profiles import profiled_module


@profiled_module("rms_norm")
class RMSNorm(torch.nn.RMSNorm):
    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)


@profiled_module("group_norm")
class GroupNorm(torch.nn.GroupNorm):
    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


of_library = profiled_module("batch_norm", keep=("of_batch", "unbiased"))


class _BatchNorm:
    """`of_batch`: momentum is the share of the batch, else that of the old statistics. `unbiased`:
    the variance kept is divided by N - 1, else by N."""

    of_batch = unbiased = True

    def extra_repr(self):
        said = {"of_batch": self.of_batch, "unbiased": self.unbiased}
        return ", ".join([super().extra_repr(), *(f"{k}={v}" for k, v in said.items() if not v)])

    def forward(self, input):
        self._check_input_dim(input)
        count, momentum = self.num_batches_tracked, self.momentum
        updating = self.training and self.track_running_stats
        if updating and count is not None:
            count.add_(1)
            if momentum is None:
                # a tensor: reading it would wait for the device
                momentum = 1 / count.to(self.running_mean.dtype)
        by_batch = self.training or (self.running_mean is None and self.running_var is None)
        keep = updating or not self.training
        return F.batch_norm(
            input,
            self.running_mean if keep else None,
            self.running_var if keep else None,
            self.weight,
            self.bias,
            by_batch,
            0.0 if momentum is None else momentum,
            self.eps,
            of_batch=self.of_batch or self.momentum is None,
            unbiased=self.unbiased,
        )


@of_library
class BatchNorm1d(_BatchNorm, torch.nn.BatchNorm1d):
    pass


@of_library
class BatchNorm2d(_BatchNorm, torch.nn.BatchNorm2d):
    pass


@of_library
class BatchNorm3d(_BatchNorm, torch.nn.BatchNorm3d):
    pass


class _InstanceNorm:
    def forward(self, input):
        self._check_input_dim(input)
        batched = input.ndim == len(self._sizes)
        channels = input.shape[-len(self._sizes) + 1]
        if self.affine or self.track_running_stats:
            require(
                channels == self.num_features,
                f"instance_norm: x of shape {tuple(input.shape)} has {channels} channels, expected "
                f"num_features={self.num_features}",
            )
        y = F.instance_norm(
            input if batched else input.unsqueeze(0),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y if batched else y.squeeze(0)


@profiled_module("instance_norm")
class InstanceNorm1d(_InstanceNorm, torch.nn.InstanceNorm1d):
    _sizes = "BCL"


@profiled_module("instance_norm")
class InstanceNorm2d(_InstanceNorm, torch.nn.InstanceNorm2d):
    _sizes = "BCHW"


@profiled_module("instance_norm")
class InstanceNorm3d(_InstanceNorm, torch.nn.InstanceNorm3d):
    _sizes = "BCDHW"
