"""What the demo's models are trained on and judged by: images shifted, text, a bigram model,
neighbours, and what joins the layers. No framework."""

import math

import numpy as np
import pytest

pytest.importorskip("sklearn")

from bpx import random
from bpx.demo import adversarial, classify, language, lockstep, settings, text
from bpx.demo import digits as digits_of
from bpx.demo.wiring import WIRING


def test_what_joins_layers_by_differences():
    """The adjoint of every kind of wiring: <dy, f'(x) v> = <f'^T dy, v>, all of them linear."""
    draw = np.random.default_rng(3)
    calls = {
        "reshape": ([(2, 3, 4)], {"shape": (6, 2)}),
        "transpose": ([(2, 3, 4)], {"axes": (1, 2, 0)}),
        "add": ([(2, 3, 4), (1, 3, 4)], {}),
        "pick": ([(2, 3, 4)], {"index": (1, None, -1)}),
        "concat": ([(2, 3), (4, 3)], {}),
    }
    assert {*calls, "zeros"} == {*WIRING}
    for name, (shapes, options) in calls.items():
        wiring = WIRING[name]
        arrays = [draw.standard_normal(s) for s in shapes]
        y = wiring.forward(*arrays, **options)
        dy = draw.standard_normal(y.shape)
        back = wiring.backward(dy, *arrays, **options)
        assert [d.shape for d in back] == shapes
        right = sum((d * a).sum() for d, a in zip(back, arrays, strict=True))
        np.testing.assert_allclose((dy * y).sum(), right, rtol=1e-13, err_msg=name)
    assert WIRING["zeros"].forward(np.ones((2, 3)), axis=1, width=4).shape == (3, 4)


def test_shifted_images():
    x = np.random.default_rng(0).standard_normal((50, 64))
    moved = classify.shifted(random.key(1), x).reshape(50, 8, 8)
    seen = set()
    for a, b in zip(x.reshape(50, 8, 8), moved, strict=True):
        wide = np.pad(a, 1, constant_values=-1.0)
        (at,) = [
            (i, j) for i in range(3) for j in range(3) if (wide[i : i + 8, j : j + 8] == b).all()
        ]
        seen.add(at)
    assert len(seen) == 9


def test_bigram_model():
    """Pairs in a text where the next character follows from the last one cost almost nothing."""
    sure = text.encode("abcd" * 500)
    assert language.bigram(sure, sure[:8], sure[1:9]) < 0.03
    coin = np.random.default_rng(0).integers(0, 2, 40_000).astype(np.int32)
    assert math.isclose(language.bigram(coin, coin[:-1], coin[1:]), math.log(2), rel_tol=1e-2)


def test_text():
    assert text.decode(text.encode("a\n~é\t.")) == "a\n~?      ."
    code = (
        '"""m"""\nclass A:\n    """a\n\n      b"""\n    def f(self):\n        "f"\ndef g(): "g"\n'
    )
    assert text.docstrings(code) == ["m", "a\n\nb", "f", "g"]
    found = text.load()
    assert 5 * len(found.test) < len(found.train)
    assert len(found.train) + len(found.test) > 400_000


def test_neighbours_show_a_collapse():
    keys = random.split(random.key(0), 2)
    data = digits_of.load(*keys, "float64")
    real = adversarial.neighbours(data.test.x, data.train.x, data.train.y)
    assert real.distinct > 250
    assert min(real.classes) > 20
    one = np.repeat(data.train.x[:1], 360, 0)
    near = adversarial.neighbours(one, data.train.x, data.train.y)
    assert (near.distinct, near.distance < 1e-6, sorted(near.classes)[-2:]) == (1, True, [0, 360])
    found = adversarial._limits("torch", near, real, 360, "")
    assert [limit.holds for limit in found] == [True, False, False]
    # one grey level in every pixel is a distance of one grey level
    off = adversarial.neighbours(data.train.x[:5] + 1 / 8, data.train.x, data.train.y)
    assert math.isclose(off.distance, 1.0, rel_tol=1e-6)


def test_rate():
    chosen = settings.Settings(lr=2.0, decay=10)
    assert [chosen.rate(k) for k in (0, 10, 99)] == [2.0, 0.1, 0.1]
    assert math.isclose(chosen.rate(5), 0.5 * (2.0 + 0.1))
    assert settings.Settings(lr=2.0).rate(99) == 2.0


def test_differences_of_several_losses():
    losses = np.array([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.5], [3.0, 4.0]]])
    np.testing.assert_array_equal(lockstep.differences(losses), [0.2, 0.0])
