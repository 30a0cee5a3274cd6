"""One step of the recurrent layers in the native core, as cells take it: both products are torch's,
and no weight is packed."""

import numpy as np
import pytest

from bpx import native
from bpx.verify.bound import UNIT
from tests.test_sequence_kernels import LAYERS, layer, run

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(native.available() is not None, reason=str(native.available()))


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("sizes", [{}, {"batch": 3, "units": 280}, {"batch": 1, "units": 5}])
@pytest.mark.parametrize("name", LAYERS)
def test_a_step_alone(name, sizes, biases):
    """Several blocks of sequences and one; more of w_hh than rows. Sums of up to `terms` terms, 20
    roundings of a unit's gates."""
    arrays, dy = layer(name, steps=1, lengths=False, **sizes)
    if not biases:
        arrays["b_ih"] = arrays["b_hh"] = None
    options = {"nonlinearity": "relu" if biases else "tanh"} if name == "rnn" else {}
    found = run("torch", name, arrays, dy, **options)
    spec = LAYERS[name].SPEC
    want = [spec.forward(**arrays, **options)[0], *spec.backward(dy, **arrays, **options)]
    want = [w for w in want if w is not None]
    terms = arrays["w_ih"].shape[1] + arrays["w_hh"].shape[1] + 20
    limit = 4 * dy.shape[-2] * terms * UNIT["float64"]
    for f, w in zip(found, want, strict=True):
        assert np.abs(f - w).max() <= limit * np.abs(w).max()
    assert limit < 1e-11


def test_few_rows_of_several_steps_go_another_way():
    from bpx_torch.kernels.cpu._recurrent import refuses

    def why(steps, lengths):
        arrays, _ = layer("gru", steps=steps, batch=3, units=280, lengths=lengths)
        given = tuple(None if a is None else torch.tensor(a) for a in arrays.values())
        return refuses(given, {"T": steps, "B": 3})

    assert why(1, False) is None
    assert why(1, True) == "it packs w_hh, which does not pay for 3 rows"
    assert why(2, False) == "it packs w_hh, which does not pay for 6 rows"
    assert why(6, False) is None
