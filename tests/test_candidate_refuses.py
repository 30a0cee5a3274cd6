"""verify_rule and its arguments: every sentence of refusal; and pairs of option values."""

import pytest

from bpx.spec import SpecError
from bpx.verify import Float, Index, verify_rule
from bpx.verify.candidate.arguments import read
from bpx.verify.candidate.pairs import pairwise

torch = pytest.importorskip("torch")

from tests.candidate_rules import PAIR, plain, right, rule

REFUSED = [
    ({"ref": plain, "spec": (1, 2)}, "both spec and ref are given"),
    ({"spec": 3}, "spec is 3, expected"),
    ({"ref": plain, "kinks": "x"}, "kinks is 'x', expected one of"),
    ({"ref": plain, "framework": "numpy"}, "framework is 'numpy', expected one of"),
    ({"ref": plain, "surrogate": True}, "surrogate is True without a spec"),
    ({"ref": plain, "dtypes": ("int8",)}, "dtypes is 'int8', expected one of"),
    ({"ref": plain, "only": "nothing"}, "only is 'nothing', expected a check of the plan"),
]


@pytest.mark.parametrize(("how", "message"), REFUSED)
def test_a_call_that_does_not_fit_says_so(how, message):
    with pytest.raises(SpecError) as error:
        verify_rule(rule(right), PAIR, **how)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_arguments_that_do_not_fit_say_so():
    for make, message in (
        (lambda: Float(1.5), "a dim is 1.5, expected a size or a name"),
        (lambda: Float("*A", "*B"), "2 dims have a star, expected at most one"),
        (lambda: Float("N", low=2, high=1), "low is 2 and high is 1, expected low < high"),
        (lambda: read("Flo(3)"), "an argument is 'Flo(3)', expected Float(...)"),
        (lambda: read(""), "the arguments are ''"),
        (lambda: verify_rule(plain, [Index("N")], ref=right), "no argument has a gradient"),
        (lambda: verify_rule(plain, ["N"], ref=right), "an argument is ['N'], expected Float"),
        (lambda: verify_rule(3, PAIR, ref=right), "the rule is 3, expected a callable"),
        (
            lambda: verify_rule(plain, PAIR, ref=plain, framework="torch"),
            "the reference is the rule itself",
        ),
    ):
        with pytest.raises(SpecError) as error:
            make()
        assert message in str(error.value)
    assert repr(read("Float(3,'n'); Index('n', below=4)")) == "[Float(3, 'n'), Index('n')]"


def test_pairwise_covers_every_pair():
    choices = {"a": [1, 2, 3], "b": ["x", "y"], "c": [True, False], "d": [0]}
    found = pairwise(choices)
    assert len(found) <= 7
    seen = {(k, str(v), m, str(w)) for c in found for k, v in c.items() for m, w in c.items()}
    assert all(("a", str(i), "b", j) in seen for i in choices["a"] for j in choices["b"])
    assert all(("b", j, "c", str(k)) in seen for j in choices["b"] for k in choices["c"])
