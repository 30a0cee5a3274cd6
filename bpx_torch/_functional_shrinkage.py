"""Shrinkage and thresholds of torch.nn.functional over the rules of bpx, re-exported by
bpx_torch.functional."""

from bpx_torch.activations import shrinkage as _shrinkage


def softshrink(input, lambd=0.5):
    return _shrinkage.softshrink(input, lambd=lambd)


def tanhshrink(input):
    return _shrinkage.tanhshrink(input)


def threshold(input, threshold, value, inplace=False):
    return _shrinkage.threshold(input, threshold=threshold, value=value)
