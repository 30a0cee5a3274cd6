"""Every Triton kernel is compiled down to the machine code of a GPU, which needs none; running it
does. What is compiled are the calls that a rule's first case makes, beside Triton's interpreter."""

import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from triton.runtime.jit import mangle_type

from bpx.rule import use
from bpx.verify.legs import each_option_set
from bpx_torch import OPTIMIZERS, RULES, random
from bpx_torch.kernels.triton import _formulas_half as half
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton import dropout as triton
from bpx_torch.layers import dropout
from bpx_torch.verify import RUNNER
from tests.torch_optimizers import accepted

HOPPER = GPUTarget("cuda", 90, 32)
ENTRIES = [n for n, r in RULES.items() if "triton" in [k.name for k in r.kernels]]
ALL_DTYPES = ("layer_norm", "rms_norm", "softmax", "cross_entropy", "silu", "tanhshrink")
STEPPED = ("sgd", "lion", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax")
STEPPED += ("nadam", "radam", "rprop")
CASES = [(n, "bfloat16") for n in ENTRIES] + [
    (n, dtype) for n in ALL_DTYPES for dtype in ("float64", "float32", "float16")
]
FEW = [n for n in ENTRIES if hasattr(half, n)] + ["glu", "swiglu", "geglu"]  # instructions


def typed(argument):
    """Numbers are annotated as float64."""
    return "fp64" if type(argument) is float else mangle_type(argument)


@pytest.fixture
def made(monkeypatch):
    """The kernels that were compiled, by name, where calls also run in the interpreter."""
    found, interpreted = {}, _launch.run

    def run(kernel, grid, x, *arguments, **constants):
        chosen = {k: v for k, v in constants.items() if k in kernel.arg_names}
        options = {k: v for k, v in constants.items() if k not in chosen}
        given = dict(zip(kernel.arg_names, arguments, strict=False))
        signature = {n: "constexpr" if n in chosen else typed(given[n]) for n in kernel.arg_names}
        # it rounds by hand in the interpreter alone
        fixed = {
            (i,): n != "BY_HAND" and chosen[n]
            for i, n in enumerate(kernel.arg_names)
            if n in chosen
        }
        source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
        found[kernel.fn.__name__] = compile(source, target=HOPPER, options=options)
        interpreted(kernel, grid, x, *arguments, **constants)

    monkeypatch.setattr(_launch, "run", run)
    return found


def built(made):
    assert made
    for kernel in made.values():
        assert kernel.asm["cubin"]
        assert "atom" not in kernel.asm["ptx"], "the order of a sum is not fixed"


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION:UserWarning")
@pytest.mark.parametrize(("entry", "dtype"), CASES)
def test_triton_compiles_for_hopper(entry, dtype, made):
    rule, runner = RULES[entry], RUNNER()
    for case in each_option_set(rule.spec):
        if runner.refusal(rule, "triton", case, dtype):
            continue
        arrays = runner.arrays(case, dtype, grad=True)
        with runner.using("triton"):
            y = rule(*arrays, **case.options)
            asked = [a for a in arrays if a is not None and a.requires_grad]
            torch.autograd.grad(y, asked, torch.randn_like(y), allow_unused=True)
        break
    built(made)
    if dtype == "bfloat16" and entry in FEW:
        for kernel in made.values():
            assert "div.full" not in kernel.asm["ptx"], "a division in full"
            assert "ex2.approx.f32" not in kernel.asm["ptx"], "an exponential that takes subnormals"
    if dtype == "float64" and entry == "layer_norm":
        text = made["forward_kernel"].asm["ttir"].splitlines()
        eps = f"{rule.spec.complete(case.options)['eps']:.6e}"
        assert "f64" in next(line for line in text if eps in line), "eps was rounded to float32"


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION:UserWarning")
def test_the_mask_of_a_key_is_compiled(made):
    key = random.key(7)
    with use("triton", interpret=True):
        bits = dropout.keep_bits(key, (1003,), p=0.3)
        dropout.drawn(torch.randn(1003, dtype=torch.bfloat16), key, p=0.3)
    built(made)
    threads = 4 * 32
    for name, elements in (("bits_kernel", 8 * triton.BYTES), ("drawn_kernel", 8 * triton.DRAWN)):
        turns = made[name].asm["ptx"].count("shf.l.wrap.b32")  # one instruction to a rotation
        assert turns == 20 * elements // threads
    with use("plain"):
        assert torch.equal(bits, dropout.keep_bits(key, (1003,), p=0.3))


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION:UserWarning")
@pytest.mark.parametrize("name", STEPPED)
def test_steps_of_optimizers_are_compiled(name, made):
    """With the counts of two tensors apart, each read and written sixteen bytes at once."""
    dtype = torch.float32 if name in ("adamw", "sgd") else torch.bfloat16
    params = [torch.nn.Parameter(torch.randn(n).to(dtype)) for n in (70, 3)]
    options = {"momentum": 0.9, "centered": True, "amsgrad": True, "weight_decay": 0.1}
    optimizer = OPTIMIZERS[name](params, **accepted(name, options))
    for given in (params[:1], params):
        for p in given:
            p.grad = torch.randn_like(p)
        optimizer.step()
    with use("triton", interpret=True):
        optimizer.step()
    built(made)
    ptx = made["step_kernel"].asm["ptx"]
    arrays = 2 + len(set(optimizer.state[params[0]]) - {"step", "mu_product"})
    assert "ld.global.v4.b32" in ptx
    assert len(re.findall(r"st\.global\.v4\.b32", ptx)) >= arrays - 1
