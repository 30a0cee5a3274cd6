"""The dropouts of torch.nn over the rule of bpx, re-exported by bpx_torch.nn. What differs from
torch is said in bpx_torch/_functional_dropout.py."""

import torch

from bpx_torch import _functional_dropout as F
from bpx_torch._profiles import profiled_module


@profiled_module("dropout")
class Dropout(torch.nn.Dropout):
    def forward(self, input):
        return F.dropout(input, self.p, self.training, self.inplace)


@profiled_module("dropout")
class Dropout1d(torch.nn.Dropout1d):
    def forward(self, input):
        return F.dropout1d(input, self.p, self.training, self.inplace)


@profiled_module("dropout")
class Dropout2d(torch.nn.Dropout2d):
    def forward(self, input):
        return F.dropout2d(input, self.p, self.training, self.inplace)


@profiled_module("dropout")
class Dropout3d(torch.nn.Dropout3d):
    def forward(self, input):
        return F.dropout3d(input, self.p, self.training, self.inplace)
