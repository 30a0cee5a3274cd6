"""embedding_bag for torch on the CPU, on torch's own threads: no row is copied, and sums go in the
order of the indices, whatever the number of threads. Maths, shapes and source:
bpx/layers/embedding_bag.py."""

from bpx_torch.kernels.cpu import _call, _losses
from bpx_torch.kernels.cpu._call import arithmetic, readable
from bpx_torch.kernels.cpu.embedding import WIDTHS, wide


def refuses(arrays, dims):
    indices, weight, bags, shares = arrays
    return _losses.refuses((weight, indices, bags), shares)


def sizes(index, weight, bag, num_bags, mode, padding_idx):
    constant = -1 if padding_idx is None else padding_idx
    widths = WIDTHS[index.dtype], WIDTHS[bag.dtype]
    return index.numel(), *weight.shape, *widths, num_bags, int(mode == "mean"), constant


def forward(indices, weight, bags, per_sample_weights, *, num_bags, mode, padding_idx):
    dtype, index, bag = weight.dtype, wide(indices), wide(bags)
    weight, shares = readable(weight, dtype), readable(per_sample_weights, dtype)
    y = weight.new_empty((num_bags, weight.shape[1]))
    of = sizes(index, weight, bag, num_bags, mode, padding_idx)
    _call.run("embedding_bag_forward", dtype, (weight, index, bag, shares, y), of)
    return y, ()


def backward(dy, arrays, residuals, needs, *, num_bags, mode, padding_idx):
    indices, weight, bags, shares = arrays
    dtype, index, bag = weight.dtype, wide(indices), wide(bags)
    dy, weight, shares = readable(dy, dtype), readable(weight, dtype), readable(shares, dtype)
    own = arithmetic(dtype)
    dweight = dy.new_empty(weight.shape, dtype=own) if needs[1] else None
    dshares = dy.new_empty(index.shape, dtype=own) if needs[3] else None
    of = sizes(index, weight, bag, num_bags, mode, padding_idx)
    given = (dy, weight, index, bag, shares, dweight, dshares)
    _call.run("embedding_bag_backward", dtype, given, of)
    return None, dweight, None, dshares
