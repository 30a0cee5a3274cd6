"""Loss, gradient and Hessian of the comparison in PyTorch. In JAX: bpx_jax/compare.py; what is done
with them: bpx/demo/compare.py."""

from itertools import pairwise

import torch

from bpx_torch import RULES


class Problem:
    """A network of linear layers and tanh, of one flat vector of weights; NumPy in and out."""

    name = "torch"
    version = torch.__version__

    def __init__(self, sizes, penalty, x, y):
        self.sizes, self.penalty = sizes, penalty
        self.x, self.y = torch.tensor(x), torch.tensor(y)

    def _logits(self, w, x):
        at = 0
        for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            weight = w[at : at + fan_out * fan_in].view(fan_out, fan_in)
            at += fan_out * fan_in
            x = RULES["linear"](RULES["tanh"](x) if i else x, weight, w[at : at + fan_out])
            at += fan_out
        return x

    def _loss(self, w, x, y):
        fit = RULES["cross_entropy"](self._logits(w, x), y, None)
        return fit + self.penalty / 2 * w.dot(w)

    def logits(self, w, x):
        with torch.no_grad():
            return self._logits(torch.tensor(w), torch.tensor(x)).numpy()

    def loss(self, w):
        with torch.no_grad():
            return self._loss(torch.tensor(w), self.x, self.y).item()

    def loss_and_grad(self, w, rows):
        """Of the images of `rows`, or of all."""
        x, y = self.x, self.y
        if rows is not None:
            chosen = torch.as_tensor(rows)
            x, y = x[chosen], y[chosen]
        w = torch.tensor(w).requires_grad_()
        loss = self._loss(w, x, y)
        (grad,) = torch.autograd.grad(loss, w)
        return loss.item(), grad.numpy()

    def hessian(self, w):
        w = torch.tensor(w).requires_grad_()
        (grad,) = torch.autograd.grad(self._loss(w, self.x, self.y), w, create_graph=True)
        rows = torch.eye(len(w), dtype=w.dtype)
        return torch.autograd.grad(grad, w, rows, is_grads_batched=True)[0].numpy()
