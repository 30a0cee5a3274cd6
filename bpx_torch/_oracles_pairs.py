"""torch's own functions of two inputs; merged in oracles.py."""

import torch.nn.functional as F


def _cosine_similarity(x1, x2, *, eps=1e-8):
    return F.cosine_similarity(x1, x2, -1, eps)


ORACLES = {"bilinear": F.bilinear, "cosine_similarity": _cosine_similarity}

_SHORT = "torch takes the derivative of a length below eps, which it does not divide by"

DIFFERS: dict[str, dict[str, str]] = {"cosine_similarity": {"below eps": _SHORT}}
