"""The convolutions of torch.nn over the rules of bpx, re-exported by bpx_torch.nn.

Each derives from its namesake and replaces `forward` alone. A padding mode other than "zeros" pads
by torch.nn.functional.pad first, as torch does.
"""

import torch

from bpx_torch import _functional_conv as F
from bpx_torch._profiles import profiled_module


def _forward(f, module, input):
    x, padding = input, module.padding
    if module.padding_mode != "zeros":
        around = module._reversed_padding_repeated_twice
        x, padding = torch.nn.functional.pad(input, around, mode=module.padding_mode), 0
    return f(x, module.weight, module.bias, module.stride, padding, module.dilation, module.groups)


@profiled_module("conv")
class Conv1d(torch.nn.Conv1d):
    def forward(self, input):
        return _forward(F.conv1d, self, input)


@profiled_module("conv")
class Conv2d(torch.nn.Conv2d):
    def forward(self, input):
        return _forward(F.conv2d, self, input)


@profiled_module("conv")
class Conv3d(torch.nn.Conv3d):
    def forward(self, input):
        return _forward(F.conv3d, self, input)


def _transpose(f, module, input, output_size):
    stride, padding, dilation = module.stride, module.padding, module.dilation
    # the constructor refuses every padding mode but "zeros"
    output_padding = module._output_padding(
        input, output_size, stride, padding, module.kernel_size, len(stride), dilation
    )
    return f(
        input,
        module.weight,
        module.bias,
        stride,
        padding,
        output_padding,
        module.groups,
        dilation,
    )


@profiled_module("conv_transpose")
class ConvTranspose1d(torch.nn.ConvTranspose1d):
    def forward(self, input, output_size=None):
        return _transpose(F.conv_transpose1d, self, input, output_size)


@profiled_module("conv_transpose")
class ConvTranspose2d(torch.nn.ConvTranspose2d):
    def forward(self, input, output_size=None):
        return _transpose(F.conv_transpose2d, self, input, output_size)


@profiled_module("conv_transpose")
class ConvTranspose3d(torch.nn.ConvTranspose3d):
    def forward(self, input, output_size=None):
        return _transpose(F.conv_transpose3d, self, input, output_size)
