"""Hold another framework's gradients to bpx's vectors: tinygrad, which bpx knows nothing of.

    python -m bpx vectors vectors
    pip install tinygrad safetensors
    DEV=PYTHON python examples/third_framework.py vectors results [NAME ...]
    python -m bpx vectors vectors --check results --partial --textbook

Each function below is tinygrad's own or a textbook formula, differentiated by tinygrad. Nothing of
bpx is imported: the files are all that the two sides share. DEV=PYTHON runs anywhere, slowly;
DEV=CPU needs clang.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tinygrad import Tensor


def affine(x, weight, bias):
    return weight * x + bias


def layer_norm(x, weight, bias, eps):
    y = x.layernorm(axis=-1, eps=eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def leaky_relu(x, negative_slope):
    # Tensor.leaky_relu has slope 1 at 0, the vectors negative_slope: the manifest's kinks says so
    return (x > 0).where(x, negative_slope * x)


def linear(x, weight, bias):
    return x.linear(weight.transpose(), bias)


def log_softmax(x, dim):
    return x.log_softmax(dim)


def mse(x, target, reduction, factor):
    y = factor * (x - target).square()
    if reduction == "none":
        return y
    # y.mean() of no elements is NaN, in the vectors 0
    return y.sum() / max(y.numel(), 1) if reduction == "mean" else y.sum()


def rms_norm(x, weight, eps):
    y = x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()
    return y if weight is None else y * weight


def softmax(x, dim):
    return x.softmax(dim)


FUNCTIONS = {
    "affine": affine,
    "exp": Tensor.exp,
    "layer_norm": layer_norm,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "log_softmax": log_softmax,
    "mse": mse,
    "relu": Tensor.relu,
    "rms_norm": rms_norm,
    "sigmoid": Tensor.sigmoid,
    "silu": Tensor.silu,
    "softmax": softmax,
    "square": Tensor.square,
    "tanh": Tensor.tanh,
}


def tensor(array):
    """A tensor that holds the array; of a scalar, one that tinygrad does not fold away."""
    return Tensor(array.reshape(-1)).reshape(array.shape)


def answer(f, entry, case, dtype, vectors):
    """The results of one case in one dtype, under the keys of the vectors."""
    at = f"{case['name']}/{dtype}"
    args = {}
    for argument in entry["arguments"]:
        given = vectors.get(f"{at}/inputs/{argument['name']}")
        args[argument["name"]] = None if given is None else tensor(given)
    y = f(*args.values(), **case["options"])
    wanted = [n for n in args if f"{at}/gradients/{n}" in vectors]
    grads = y.gradient(*(args[n] for n in wanted), gradient=tensor(vectors[f"{at}/dy"]))
    results = {f"{at}/y": y.numpy()}
    for name, grad in zip(wanted, grads, strict=True):
        results[f"{at}/gradients/{name}"] = grad.numpy()
    return results


def main(source, target, names):
    entries = json.loads((source / "manifest.json").read_text())["entries"]
    target.mkdir(parents=True, exist_ok=True)
    for name in names or FUNCTIONS:
        entry, vectors, results = entries[name], load_file(source / f"{name}.safetensors"), {}
        for case in entry["cases"]:
            for dtype in ("float64", "float32"):
                try:
                    results |= answer(FUNCTIONS[name], entry, case, dtype, vectors)
                except Exception as error:  # what the framework cannot run has no result
                    print(f"{name}, {case['name']}, {dtype}: {type(error).__name__}: {error}")
        # row by row: safetensors writes the memory of an array as it lies there
        results = {k: np.array(v, order="C") for k, v in results.items()}
        save_file(results, target / f"{name}.safetensors")
        print(f"{name}: {len(results)} arrays", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
