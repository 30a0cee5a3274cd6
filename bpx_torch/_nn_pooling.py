"""The pools of torch.nn over the rules of bpx, re-exported by bpx_torch.nn.

Each derives from its namesake and replaces `forward` alone. What differs from torch is said in
bpx_torch/_functional_pooling.py.
"""

import torch

from bpx_torch import _functional_pooling as F


def _window(module):
    return (module.kernel_size, module.stride, module.padding)


class MaxPool1d(torch.nn.MaxPool1d):
    def forward(self, input):
        how = (self.dilation, self.ceil_mode, self.return_indices)
        return F.max_pool1d(input, *_window(self), *how)


class MaxPool2d(torch.nn.MaxPool2d):
    def forward(self, input):
        how = (self.dilation, self.ceil_mode, self.return_indices)
        return F.max_pool2d(input, *_window(self), *how)


class MaxPool3d(torch.nn.MaxPool3d):
    def forward(self, input):
        how = (self.dilation, self.ceil_mode, self.return_indices)
        return F.max_pool3d(input, *_window(self), *how)


class AvgPool1d(torch.nn.AvgPool1d):
    def forward(self, input):
        return F.avg_pool1d(input, *_window(self), self.ceil_mode, self.count_include_pad)


class AvgPool2d(torch.nn.AvgPool2d):
    def forward(self, input):
        how = (self.ceil_mode, self.count_include_pad, self.divisor_override)
        return F.avg_pool2d(input, *_window(self), *how)


class AvgPool3d(torch.nn.AvgPool3d):
    def forward(self, input):
        how = (self.ceil_mode, self.count_include_pad, self.divisor_override)
        return F.avg_pool3d(input, *_window(self), *how)


class AdaptiveAvgPool1d(torch.nn.AdaptiveAvgPool1d):
    def forward(self, input):
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(torch.nn.AdaptiveAvgPool2d):
    def forward(self, input):
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(torch.nn.AdaptiveAvgPool3d):
    def forward(self, input):
        return F.adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool1d(torch.nn.AdaptiveMaxPool1d):
    def forward(self, input):
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(torch.nn.AdaptiveMaxPool2d):
    def forward(self, input):
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(torch.nn.AdaptiveMaxPool3d):
    def forward(self, input):
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


_REASONS = {
    "pooling: not written yet": """FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d
        LPPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d""",
}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
