"""What a rule's checks may cost: what does not fit is left out and named, the kit's own checks and
a first comparison are not."""

import gc
import math

import pytest

from bpx.verify import verify_rule
from bpx.verify.candidate import api, budget
from bpx.verify.candidate.plan import Check, NotRun

torch = pytest.importorskip("torch")

from tests.candidate_rules import PAIR, plain, right, rule


def purse(spent: float, most: float, **longest: float) -> budget.Purse:
    class At(budget.Purse):
        @property
        def spent(self) -> float:
            return spent

    return At(most, longest=longest)


def a(family: str, long: bool = False) -> Check:
    return Check(family, "one", lambda: (), long)


def test_a_check_is_begun_where_one_of_its_kind_still_fits():
    assert purse(1.0, 2.0).holds(a("value"))
    assert not purse(2.0, 2.0).holds(a("value"))
    assert purse(1.0, 2.0, value=0.4, shape=9.0).holds(a("value"))
    assert not purse(1.0, 2.0, value=0.6).holds(a("value"))  # half as much again may be needed
    assert purse(1.0, 2.0, kit=0.7).holds(a("value"))  # the first call pays for imports
    in_jax = purse(1.0, 2.0, kit=0.7)
    in_jax.compiles = True
    assert not in_jax.holds(a("value"))  # a compilation
    assert purse(1.0, 2.0, long=0.7).holds(a("value"))
    assert not purse(1.0, 2.0, long=0.7).holds(a("value", long=True))


def test_a_check_that_is_tried_first_begins_and_asks_for_what_it_will_cost():
    def tried(family):
        return Check(family, "one", lambda: (), long=True, tried=True)

    here = purse(1.0, 2.0, long=9.0, kit=9.0)
    assert here.holds(tried("shape"))
    assert not purse(1.95, 2.0).holds(tried("shape"))
    here.compiles = True
    assert not here.holds(tried("shape"))  # it is compiled all the same
    here.afford(0.65)
    with pytest.raises(NotRun, match="the budget of 2 s is spent"):
        here.afford(0.75)  # a little is kept for the report


def test_what_was_there_before_is_not_looked_through_for_garbage():
    def frozen(dy, x, w):
        counts.append(gc.get_freeze_count())
        return right(dy, x, w)

    for before, during in ((0, True), (1, True)):
        counts = []
        gc.freeze() if before else gc.unfreeze()
        verify_rule(rule(frozen), PAIR, ref=plain, only="vjp", framework="torch")
        assert all(bool(n) == during for n in counts)
        assert bool(gc.get_freeze_count()) == bool(before)
        gc.unfreeze()


def test_checks_ask_the_purse_of_their_report_and_what_comes_after_it_is_free():
    trial = api.prepare(rule(right), PAIR, ref=plain, framework="torch")
    given, seen = budget.Purse(0.0), []
    api.judge(trial, [Check("kit", "sees", lambda: seen.append(trial.purse) or ())], purse=given)
    assert seen == [given]
    assert math.isinf(trial.purse.budget)


def test_the_kit_s_own_and_a_first_comparison_are_run_whatever_they_cost():
    spent = {"kit": 5.0, "forward": 1.0}
    assert purse(9.0, 2.0, **spent).holds(a("kit"))
    assert purse(9.0, 2.0, **spent).holds(a("vjp"))
    assert not purse(9.0, 2.0, **spent).holds(a("forward"))


def test_what_a_check_has_cost_is_kept_by_kind():
    here = purse(1.5, math.inf)
    here.pay(a("value", long=True), 1.0)
    here.pay(a("value"), 1.25)
    assert here.longest == {"value": 0.5, "long": 0.5}


def test_a_budget_leaves_out_the_rest_and_says_so():
    """Some of every family before the rest of any; the kit's own checks and a first comparison
    whatever they cost; nothing without a limit."""
    whole = verify_rule(rule(right), PAIR, ref=plain, budget=float("inf"))
    assert not any("budget" in reason for reason in whole.skips())
    none = verify_rule(rule(right), PAIR, ref=plain, budget=0.0)
    made = [o.check.id for o in none.outcomes if not all(f.skipped for f in o.findings)]
    assert made[:5] == [
        "kit::rule-is-called", "kit::no-shared-storage", "kit::broken-twin",
        "forward::generic-0", "vjp::generic-0",
    ]  # fmt: skip
    assert set(made[5:]) == {"behaviour::prints-nothing"}
    assert [o.check.id for o in none.outcomes] == [o.check.id for o in whole.outcomes]
    (left_out,) = {r for r in none.skips() if "budget" in r}
    assert left_out.startswith("the budget of 0 s is spent")
    planned = [o.check for o in whole.outcomes]
    turns = [planned[at] for at in budget.turns(planned)]
    families = [c.family for c in turns if c.family != "kit"]
    assert len(set(families[:15])) == 15
    first_long = next(i for i, c in enumerate(turns) if c.long)
    assert all(c.long for c in turns[first_long:])


def test_a_larger_budget_is_spent_on_more_seeds():
    report = verify_rule(rule(right), PAIR, ref=plain, quick=True, budget=0.5)
    assert report.spent >= 0.5
    assert len([o for o in report.outcomes if o.check.id.startswith("vjp::generic-10")]) > 2
