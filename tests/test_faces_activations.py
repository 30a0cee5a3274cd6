"""The faces of activations and layers against the libraries they stand in for."""

import copy
import importlib
import inspect
import pickle

import pytest

from bpx.spec import SpecError

torch = pytest.importorskip("torch")
F = torch.nn.functional
functional = importlib.import_module("bpx_torch.functional")
nn = importlib.import_module("bpx_torch.nn")

FUNCTIONS = """sigmoid tanh softplus logsigmoid silu mish gelu softsign elu selu celu relu
    leaky_relu relu6 hardtanh hardsigmoid hardswish linear prelu softmax softmin log_softmax
    layer_norm softshrink tanhshrink threshold""".split()
LOUD = {
    "softplus": {"beta": 2.5, "threshold": 5},
    "gelu": {"approximate": "tanh"},
    "elu": {"alpha": 0.3},
    "celu": {"alpha": 0.3},
    "leaky_relu": {"negative_slope": 0.3},
    "hardtanh": {"min_val": -0.5, "max_val": 1.5},
    "softshrink": {"lambd": 0.2},
}
MODULES = {
    "Sigmoid": (),
    "Tanh": (),
    "Softplus": (2.5, 5),
    "LogSigmoid": (),
    "SiLU": (),
    "Mish": (),
    "GELU": ("tanh",),
    "Softsign": (),
    "ELU": (0.3,),
    "SELU": (),
    "CELU": (0.3,),
    "ReLU": (True,),
    "LeakyReLU": (0.3,),
    "ReLU6": (),
    "Hardtanh": (-0.5, 1.5),
    "Hardsigmoid": (),
    "Hardswish": (),
    "PReLU": (3, 0.4),
    "Softmax": (1,),
    "LogSoftmax": (1,),
    "Linear": (5, 7),
    "LayerNorm": ((3, 5), 0.1),
    "Hardshrink": (0.3,),
    "Softshrink": (0.3,),
    "Tanhshrink": (),
    "Threshold": (0.3, -2.0),
    "Softmin": (1,),
    "Softmax2d": (),
}


def shape_of(parameters):
    return [(p.name, p.kind, p.default) for p in parameters]


def signature(name):
    """torch's parameters; of a builtin from its operator's schema, where input is called self."""
    f = getattr(F, name)
    try:
        return shape_of(inspect.signature(f).parameters.values())
    except ValueError:
        pass
    schema = getattr(torch.ops.aten, {"logsigmoid": "log_sigmoid"}.get(name, name)).default._schema
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        (
            "input" if a.name == "self" else a.name,
            kinds[a.kwarg_only],
            a.default_value if a.has_default_value() else inspect.Parameter.empty,
        )
        for a in schema.arguments
    ]


def arrays(name):
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    more = {
        "linear": (torch.randn(7, 5).double(), torch.randn(7).double()),
        "prelu": (torch.randn(3).double(),),
        "softmax": (1,),
        "softmin": (1,),
        "threshold": (0.3, -2.0),
        "log_softmax": (-1,),
        "layer_norm": ((3, 5), torch.randn(3, 5).double(), torch.randn(3, 5).double(), 0.1),
    }
    return (x, *more.get(name, ()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_signature(name):
    ours = shape_of(inspect.signature(getattr(functional, name)).parameters.values())
    assert ours == signature(name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_value_and_gradient(name):
    for options in ({}, LOUD.get(name, {})):
        results = []
        for library in (functional, F):
            torch.manual_seed(3)
            inputs = [
                a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in arrays(name)
            ]
            y = getattr(library, name)(*inputs, **options)
            tensors = [a for a in inputs if isinstance(a, torch.Tensor)]
            grads = torch.autograd.grad((y * torch.randn_like(y)).sum(), tensors)
            results.append((y, *grads))
        # torch's own backward of these two rounds 1/alpha and 1/6 to float32, in float64 as well
        rtol = 1e-6 if name in ("celu", "hardsigmoid") else 1e-12
        torch.testing.assert_close(*results, rtol=rtol, atol=1e-12)


def test_functional_gaps():
    library = {n for n, f in vars(F).items() if inspect.isroutine(f) and not n.startswith("_")}
    ours = {
        n
        for n, f in vars(functional).items()
        if inspect.isfunction(f) and not n.startswith("_") and n in library
    }
    assert set(FUNCTIONS) <= ours
    assert not library - ours - set(functional.GAPS)
    assert not ours & set(functional.GAPS)
    if torch.__version__ >= "2.13":
        assert not set(functional.GAPS) - library


def test_module_gaps():
    def modules(namespace):
        return {
            n
            for n, c in vars(namespace).items()
            if inspect.isclass(c) and issubclass(c, torch.nn.Module)
        }

    library, ours = modules(torch.nn), modules(nn)
    for name in ("_nn_surrogate", "_nn_surrogate_conv", "_nn_reversible"):  # torch has none of them
        ours -= modules(importlib.import_module(f"bpx_torch.{name}"))
    assert ours - library - {"LinearCrossEntropyLoss"} == {"ReLUSquared"}  # torch 2.13 has it
    assert set(MODULES) <= ours
    assert not library - ours - set(nn.GAPS)
    assert not ours & set(nn.GAPS)
    if torch.__version__ >= "2.13":
        assert not set(nn.GAPS) - library


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    ours, theirs = getattr(nn, name)(*MODULES[name]), getattr(torch.nn, name)(*MODULES[name])
    assert inspect.signature(type(ours)) == inspect.signature(type(theirs))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 5)
    y = theirs(x.clone())
    torch.testing.assert_close(ours(x), y)
    torch.testing.assert_close(pickle.loads(pickle.dumps(copy.deepcopy(ours)))(x), y)


def test_linear_and_layer_norm_draw_as_torch_does():
    for name, arguments in (("Linear", (5, 7)), ("Linear", (5, 7, False)), ("LayerNorm", (5,))):
        drawn = []
        for library in (nn, torch.nn):
            torch.manual_seed(1)
            drawn.append(getattr(library, name)(*arguments, dtype=torch.float64).state_dict())
        assert drawn[0].keys() == drawn[1].keys()
        for key, value in drawn[0].items():
            assert torch.equal(value, drawn[1][key])


def test_relu_squared():
    x = torch.randn(7, dtype=torch.float64)
    torch.testing.assert_close(nn.ReLUSquared()(x), F.relu(x) ** 2)


@pytest.mark.parametrize("shape", [(), (5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_without_dim(name, shape):
    x = torch.randn(shape)
    with pytest.warns(UserWarning, match="dim"):
        y = getattr(functional, name)(x)
    with pytest.warns(UserWarning, match="dim"):
        want = getattr(F, name)(x)
    torch.testing.assert_close(y, want)


def test_softmax_dtype():
    x = torch.randn(3, 5, dtype=torch.bfloat16)
    y = functional.softmax(x, 1, dtype=torch.float64)
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, F.softmax(x, 1, dtype=torch.float64))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_minus_infinity(name):
    x = torch.randn(3, 5, dtype=torch.float64)
    x[0, 2], x[1] = -torch.inf, -torch.inf
    torch.testing.assert_close(
        getattr(functional, name)(x, 1), getattr(F, name)(x, 1), equal_nan=True
    )


def test_inplace_keeps_the_input():
    x = torch.randn(5)
    before = x.clone()
    torch.testing.assert_close(functional.relu(x, inplace=True), F.relu(x))
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("shape", "weight", "message"),
    [
        ((5, 3), None, r"normalized_shape is \(5, 3\), expected the last dims of x"),
        ((), None, r"normalized_shape is \(\)"),
        ((3, 5), (15,), r"weight has shape \(15,\), expected \(3, 5\)"),
    ],
)
def test_layer_norm_rejects(shape, weight, message):
    with pytest.raises(SpecError, match=message):
        functional.layer_norm(
            torch.randn(2, 3, 5), shape, None if weight is None else torch.randn(weight)
        )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_dtype(name, dtype):
    inputs = [a.to(dtype) if isinstance(a, torch.Tensor) else a for a in arrays(name)]
    with torch.autocast("cpu", torch.bfloat16):
        y, want = getattr(functional, name)(*inputs), getattr(F, name)(*inputs)
    assert y.dtype == want.dtype
    torch.testing.assert_close(y, want, rtol=2e-2, atol=2e-2)
