"""Where the slope of a loss jumps: torch's choice, and second derivatives."""

from functools import partial

import pytest

torch = pytest.importorskip("torch")

from tests.test_faces_losses_more import compare, functional, pair, signs


def test_kinks_are_those_of_torch():
    """Of torch to 2.13: from 2.14 on the slope of a clamp at its bound is 0, and theirs is taken a
    little above it."""
    zero = torch.zeros((), requires_grad=True)
    above = 1e-13 * (1 - torch.autograd.grad(zero.clamp_min(0), zero)[0].item())

    def kinks(name, inputs, *args, margin, beside=above, **options):
        ours, theirs = pair(name)
        theirs = partial(theirs, margin=margin + beside)
        compare(partial(ours, margin=margin), theirs, inputs, *args, **options)

    one = torch.tensor([2.0, 0.5, -1.0], dtype=torch.float64)
    kinks("hinge_embedding_loss", (one,), -torch.ones(3).double(), margin=2.0)
    kinks("margin_ranking_loss", (one, one.clone()), signs(3), margin=0.0)
    x1 = torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    x2 = torch.tensor([[0.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    target = -torch.ones(2).double()
    kinks("cosine_embedding_loss", (x1, x2), target, margin=0.0, beside=-above)
    scores = torch.tensor([[1.0, 0.0, 2.0]], dtype=torch.float64)
    compare(*pair("multi_margin_loss"), (scores,), torch.tensor([0]))
    anchor = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]], dtype=torch.float64)
    positive = torch.tensor([[3.0, 4.0], [3.0, 4.0], [-3.0, 4.0]], dtype=torch.float64)
    negative = torch.tensor([[0.0, 6.0], [0.0, 0.0], [0.0, 8.0]], dtype=torch.float64)
    for options in ({"margin": 1.0}, {"swap": True, "margin": 6.0}):
        triplet = (anchor, positive, negative)
        kinks("triplet_margin_loss", triplet, eps=0.0, reduction="none", **options)


@pytest.mark.parametrize("name", ["hinge_embedding_loss", "cosine_embedding_loss"])
def test_second_derivatives_at_a_kink_are_symmetric(name):
    x = [torch.tensor([1.5, 0.25]).double()]
    options = {"margin": 1.5}
    if name.startswith("cosine"):
        x = [torch.tensor([[3.0, 0.0], [1.0, 2.0]]).double(), torch.eye(2).flip(0).double()]
        options = {"margin": 0.0}
    leaves = [a.requires_grad_() for a in (*x, -torch.ones(2).double())]
    y = getattr(functional, name)(*leaves, reduction="none", **options)
    y = y @ torch.tensor([0.7, -1.3]).double()
    dx, *_, dtarget = torch.autograd.grad(y, leaves, create_graph=True)
    (one,) = torch.autograd.grad(dtarget.sum(), x[0], retain_graph=True)
    for i in range(2):
        (row,) = torch.autograd.grad(dx[i].sum(), leaves[-1], retain_graph=True)
        torch.testing.assert_close(row[i], one[i].sum())
        assert row[i]
