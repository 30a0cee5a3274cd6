"""The handwritten digits that scikit-learn carries: 1797 images of 8 x 8, split and put in order.

The split and the order of the images are drawn from a key, so that they are the same everywhere.
Source of the data: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI
Machine Learning Repository, the test part; sklearn.datasets.load_digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx import random
from bpx._command import needs

TEST = 360  # images held back, a fifth
SIDE = 8  # pixels

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Batch:
    """x (B 64) in the dtype of the run, y (B) labels 0 to 9 as int32."""

    x: Array
    y: Array

    def __iter__(self) -> Iterator[Array]:
        return iter((self.x, self.y))


@dataclass(frozen=True)
class Digits:
    train: Batch
    test: Batch
    key: Any  # of the order of the training images

    def batch(self, step: int, size: int) -> Any:
        """The batch of a step, 0, 1, ...: a function of the key and the step alone."""
        chosen = in_order(self.key, step, size, len(self.train.y))
        return Batch(self.train.x[chosen], self.train.y[chosen])


def in_order(key: Any, step: int, size: int, n: int) -> Array:
    """Which of n examples a step takes: each once in an epoch, in an order drawn for the epoch;
    the last ones are left out where they fill no batch."""
    epoch, place = divmod(step, n // size)
    order = permutation(random.fold_in(key, epoch), n)
    return order[place * size : (place + 1) * size]


def permutation(key: Any, n: int) -> Array:
    """0 ... n - 1 in random order: the places of n random words once sorted, ties in order."""
    return np.argsort(random.bits(key, (n,)), kind="stable")


def load(split_key: Any, order_key: Any, dtype: str) -> Digits:
    """Pixels 0 to 16 become -1 to 1."""
    images, labels = needs("sklearn.datasets", "demo").load_digits(return_X_y=True)
    x, y = (images / 8 - 1).astype(dtype), labels.astype(np.int32)
    order = permutation(split_key, len(y))
    test, train = order[:TEST], order[TEST:]
    return Digits(Batch(x[train], y[train]), Batch(x[test], y[test]), order_key)
