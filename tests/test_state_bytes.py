"""The bytes of state that the pages state, and those of real states."""

from __future__ import annotations

import ast

import pytest

from bpx._state_bytes import rows, state_bytes
from bpx.optimizers import ALL
from bpx.spec import Optimizer, SpecError

MATRIX, VECTOR = (9, 4), (13,)
SIZES = {"R": 9, "C": 4}


def evaluated(terms: str, n: int) -> int:
    """Such as "4 n + 8 R R"."""
    total = 0
    for term in terms.split(" + "):
        number, *dims = term.split()
        product = int(number)
        for dim in dims:
            product *= {**SIZES, "n": n}[dim]
        total += product
    return total


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
def test_the_formula_of_a_page(spec: Optimizer) -> None:
    """At other sizes than those it was read from; defaults, and one option at a time."""
    for title, _, *formulas in rows(spec):
        name, _, value = title.partition(" = ")
        options = {name: ast.literal_eval(value)} if value else {}
        for itemsize, formula in zip((4, 8), formulas, strict=True):
            of_matrix, _, of_vector = formula.removesuffix(" of a vector").partition(
                " of a matrix, "
            )
            got = evaluated(of_matrix, 36)
            assert got == state_bytes(spec, MATRIX, itemsize, **options), (title, formula)
            try:
                want = state_bytes(spec, VECTOR, itemsize, **options)
            except SpecError:
                continue
            assert evaluated(of_vector or of_matrix, 13) == want, (title, formula)


def test_figures() -> None:
    named = {spec.name: spec for spec in ALL}
    assert state_bytes(named["sgd"], (9, 4)) == 0
    assert state_bytes(named["adamw"], (9, 4)) == 8 * 36
    assert state_bytes(named["adamw"], (9, 4), 8, amsgrad=True) == 24 * 36
    assert state_bytes(named["adafactor"], (9, 4)) == 4 * 13
    assert state_bytes(named["shampoo"], (9, 4)) == 4 * (81 + 16)
    assert state_bytes(named["schedule_free_sgd"], (9, 4)) == 4 * 36


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
def test_states_of_torch(spec: Optimizer) -> None:
    torch = pytest.importorskip("torch")
    from tests.torch_optimizers import OPTIMIZERS, keywords, trials

    shapes = (MATRIX,) if spec.name == "muon" else (MATRIX, VECTOR, (3, 2, 5))
    for dtype, itemsize in ((torch.float64, 8), (torch.float32, 4), (torch.bfloat16, 4)):
        for options in [{}, *trials(spec)]:
            ps = [torch.nn.Parameter(torch.ones(s, dtype=dtype)) for s in shapes]
            optimizer = OPTIMIZERS[spec.name](ps, **keywords(spec, options))
            for p in ps:
                p.grad = torch.ones_like(p)
            optimizer.step()
            for p in ps:
                arrays = [a for a in optimizer.state.get(p, {}).values() if a.dim() > 0]
                want = state_bytes(spec, tuple(p.shape), itemsize, **options)
                assert sum(a.numel() * a.element_size() for a in arrays) == want, (dtype, options)
                held = [a for a in optimizer.state.get(p, {}).values() if a.dim() == 0]
                assert (
                    sum(a.element_size() for a in held) <= 4 + itemsize
                )  # a count, NAdam's product


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
def test_states_of_jax(spec: Optimizer) -> None:
    """optax's states, so beside those of the entry single numbers, (1,) in the place of what is not
    factored, and Muon's coefficients."""
    jax = pytest.importorskip("jax")
    pytest.importorskip("optax")
    from bpx_jax import optim
    from tests.optax_arguments import CASES, call

    shapes = (MATRIX,) if spec.name == "muon" else (MATRIX, VECTOR, (3, 2, 5))
    for dtype, itemsize in (("float64", 8), ("float32", 4)):
        params = [jax.numpy.ones(s, dtype) for s in shapes]
        for options in [t for s, t in CASES if s is spec]:
            name, keywords = call(spec, options)
            if "dtype_momentum" in keywords:
                keywords["dtype_momentum"] = dtype
            state = jax.tree_util.tree_flatten_with_path(
                getattr(optim, name)(**keywords).init(params)
            )
            arrays = [x for path, x in state[0] if ".ns_coeffs" not in map(str, path)]
            total = sum(x.nbytes for x in arrays if x.shape not in ((), (1,)))
            want = sum(state_bytes(spec, s, itemsize, **options) for s in shapes)
            assert total == want, (dtype, options)
