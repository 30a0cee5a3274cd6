"""First values of recurrent layers and attention under a profile, against those of the library it
is named after: deviation, largest value, orthogonal columns, the bias of the forget gate."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("jax")
pytest.importorskip("flax")

from flax import nnx

from bpx.spec import SpecError
from bpx_jax import nn as modules
from bpx_torch import nn as N
from tests.libraries import keras, lenient
from tests.test_profiles_initializers import same_law

pytestmark = pytest.mark.slow


def theirs_of(entry, profile):
    """(what is called `weight_ih` and so on here) of the library's own, in torch's layout."""
    with lenient():
        if profile == "flax":
            kind = nnx.OptimizedLSTMCell if entry == "lstm" else nnx.GRUCell
            cell = kind(200, 90, rngs=nnx.Rngs(0))
            bias = cell.dense_h.bias if entry == "lstm" else cell.dense_i.bias
            return cell.dense_i.kernel[...].T, cell.dense_h.kernel[...].T, bias[...]
        layer = (keras.layers.LSTM if entry == "lstm" else keras.layers.GRU)(90)
        layer.build((1, 1, 200))
        w, u, b = (np.asarray(v.value) for v in layer.weights)
        return w.T, u.T, b


@pytest.mark.parametrize("profile", ["flax", "keras"])
@pytest.mark.parametrize("entry", ["lstm", "gru"])
def test_first_values_of_recurrent_layers(entry, profile):
    kernel, recurrent, bias = theirs_of(entry, profile)
    torch.manual_seed(1)
    name = entry.upper()
    sizes = {"input_size": 200, "hidden_size": 90, "num_layers": 2, "bidirectional": True}
    ours = getattr(N, name)(**sizes, profile=profile)
    cell = getattr(N, f"{name}Cell")(200, 90, profile=profile)
    record = getattr(modules, name)(**sizes, profile=profile)
    plain = getattr(N, name)(**sizes)
    assert record.init(3).keys() == ours.state_dict().keys() == plain.state_dict().keys()
    for found in (ours.state_dict(), record.init(3), cell.state_dict()):
        for n, a in found.items():
            a = np.asarray(a, np.float64)
            if n.startswith("weight_hh"):
                np.testing.assert_allclose(a.T @ a, np.eye(90), atol=1e-5)
            elif n in ("weight_ih", "weight_ih_l0", "weight_ih_l0_reverse"):
                same_law(a, kernel)
            elif n.startswith("bias"):
                gates = a.reshape(-1, 90)
                one = entry == "lstm" and profile == "keras" and n.startswith("bias_ih")
                assert [set(g) for g in gates] == [
                    {float(one and i == 1)} for i in range(len(gates))
                ]
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(90), atol=1e-5)
    want = 1.0 if entry == "lstm" and profile == "keras" else 0.0
    assert (np.unique(bias) == np.unique([0.0, want])).all()
    drawn = getattr(modules, name)(**sizes, profile="torch").init(3)
    assert all((drawn[n] == a).all() for n, a in getattr(modules, name)(**sizes).init(3).items())
    with pytest.raises(SpecError, match=f"{entry}: profile is 'optax', expected one of"):
        getattr(N, name)(3, 4, profile="optax")


@pytest.mark.parametrize("profile", ["flax", "keras"])
def test_first_values_of_attention(profile):
    with lenient():
        if profile == "flax":
            layer = nnx.MultiHeadAttention(4, 256, rngs=nnx.Rngs(0), decode=False)
            within, out = layer.key.kernel[...], layer.out.kernel[...]
        else:
            layer = keras.layers.MultiHeadAttention(4, 64)
            layer.build((1, 1, 256), (1, 1, 256))
            within, out = (np.asarray(layer.weights[i].value) for i in (2, 6))
            assert within.shape == (256, 4, 64)
            assert out.shape == (4, 64, 256)
    torch.manual_seed(1)
    record = modules.MultiheadAttention(256, 4, profile=profile)
    params = record.init(3)
    flat = {n: params[n] for n in ("in_proj_weight", "in_proj_bias")}
    flat |= {f"out_proj.{n}": a for n, a in params["out_proj"].items()}
    for found in (N.MultiheadAttention(256, 4, profile=profile).state_dict(), flat):
        same_law(found["in_proj_weight"], within)
        same_law(found["out_proj.weight"], out)
        assert not any(np.asarray(a).any() for n, a in found.items() if n.endswith("bias"))
    apart = N.MultiheadAttention(256, 4, kdim=500, profile=profile)
    assert apart.k_proj_weight.std().item() == pytest.approx(
        1 / 500**0.5 if profile == "flax" else (2 / 756) ** 0.5, rel=0.01
    )
    assert (
        modules.MultiheadAttention(256, 4, profile="torch").init(3)["in_proj_weight"].max()
        < (6 / 1024) ** 0.5
    )
