"""PyTorch under the verification kit: NumPy arrays in, NumPy arrays out."""

import numpy as np
import torch
from torch.autograd.gradcheck import GradcheckError

from bpx import rule as call_path
from bpx.spec import SpecError
from bpx_torch import RULES
from bpx_torch._checks import CHECKS, saved_bytes
from bpx_torch.oracles import DIFFERS, ORACLES

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def to_numpy(t):
    if t is None:
        return None
    t = t.detach().cpu()
    return t.double().numpy() if t.is_floating_point() else t.numpy()


class TorchRunner:
    name = "torch"
    rules, oracles, differs, checks = RULES, ORACLES, DIFFERS, CHECKS
    option_checks = ("needs", "layouts", "second derivative")
    case_checks = ("saved bytes",)

    def __init__(self, device: str = "cpu") -> None:
        if device != "cpu" and not torch.cuda.is_available():
            raise SpecError(
                f"verify: device is {device!r}, expected 'cpu' (no CUDA GPU found here)"
            )
        if device != "cpu":
            # torch's own setting for convolutions in float32 rounds their factors to TF32
            torch.backends.cudnn.allow_tf32 = False
        self.device = device

    def array(self, array, dtype: str):
        if array is None:
            return None
        array = np.asarray(array)
        if array.dtype.kind == "f":
            return torch.from_numpy(array.copy()).to(DTYPES[dtype]).to(self.device)
        return torch.from_numpy(array.copy()).to(self.device)

    def arrays(self, case, dtype: str, grad: bool = False):
        """The case's arguments; with `grad`, the floating ones ask for a gradient."""
        arrays = [self.array(a, dtype) for a in case.arrays.values()]
        for a in arrays:
            if grad and a is not None and a.is_floating_point():
                a.requires_grad_()
        return arrays

    def using(self, kernel: str):
        """Force the kernel; a GPU kernel on the CPU runs in its interpreter."""
        return call_path.use(kernel, interpret=self.interprets(kernel))

    def interprets(self, kernel: str) -> bool:
        return kernel == "triton" and self.device == "cpu"

    def refusal(self, rule, kernel, case, dtype):
        arrays = self.arrays(case, dtype)
        shapes = tuple(None if a is None else tuple(a.shape) for a in arrays)
        with self.using(kernel):
            return rule.kernel(kernel).refuses(tuple(arrays), rule.bind(shapes, case.options)[1])

    def rounded(self, array, dtype):
        return to_numpy(self.array(array, dtype))

    def value(self, rule, kernel, case, dtype):
        with self.using(kernel), torch.no_grad():
            y, residuals = rule.forward(*self.arrays(case, dtype), kernel=kernel, **case.options)
        return to_numpy(y), tuple(to_numpy(r) for r in residuals)

    def gradient(self, rule, kernel, case, dy, dtype):
        with self.using(kernel):
            return self._gradient(rule, case, dy, dtype)

    def autodiff(self, f, rule, case, dy):
        return self._gradient(f, case, dy, "float64")

    def _gradient(self, f, case, dy, dtype):
        arrays = self.arrays(case, dtype, grad=True)
        y = f(*arrays, **case.options)
        asked = [a for a in arrays if a is not None and a.requires_grad]
        grads = iter(torch.autograd.grad(y, asked, self.array(dy, dtype), allow_unused=True))
        return tuple(
            to_numpy(next(grads)) if a is not None and a.requires_grad else None for a in arrays
        )

    def oracle_value(self, f, rule, case, dtype="float64"):
        return to_numpy(f(*self.arrays(case, dtype), **case.options))

    def saved_bytes(self, f, rule, case, dtype):
        arrays = self.arrays(case, dtype, grad=True)
        return saved_bytes(lambda *a: f(*a, **case.options), arrays)

    def finite_differences(self, rule, kernel, case):
        arrays = self.arrays(case, "float64", grad=True)
        once = self.interprets(kernel)  # one direction of all elements
        with self.using(kernel):
            try:
                torch.autograd.gradcheck(
                    lambda *a: rule(*a, **case.options), arrays, atol=1e-8, fast_mode=once
                )
            except GradcheckError as error:
                return str(error).splitlines()[0]
        return ""


RUNNER = TorchRunner
