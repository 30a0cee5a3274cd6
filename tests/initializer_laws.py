"""What each initializer must draw, written from the papers a second time: the distribution of its
values and the structure of its weights. `check` holds a record to both."""

import math

import numpy as np
from scipy import stats

from bpx import random
from bpx.initializers._draw import complete, draw
from bpx.spec import SpecError

SMALL = ((6, 4, 3, 5), (13, 7))
LARGE = ((60, 30, 5, 7), (420, 150))
PVALUE = 1e-3  # of a fixed key: the draw is the same in every run
DRAWS = 400
# squares of the gains: Glorot and Bengio, He et al. equation 15, Klambauer et al., torch
GAINS = {"relu": 2.0, "tanh": 25 / 9, "selu": 9 / 16, "conv2d": 1.0, "linear": 1.0, "sigmoid": 1.0}
KEPT = stats.truncnorm(-2, 2).std()


def shape_of(spec, trial, shapes=SMALL):
    """The first of the shapes that the entry takes."""
    for shape in shapes:
        try:
            spec.check and spec.check(shape, complete(spec, trial))
            return shape
        except SpecError as error:
            refused = error
    raise AssertionError(f"{spec.name} takes none of {shapes}: {refused}")


def named(shape, o):
    """(input channels, output channels, elements of the field) of a weight, from its options."""
    if o["layout"] is not None:
        sizes = dict(zip(o["layout"], shape, strict=True))
        field = [n for letter, n in sizes.items() if letter in "DHW"]
        return sizes["I"], sizes["O"], math.prod(field)
    axes = [o["in_axis"], o["out_axis"], o.get("batch_axis", ())]
    places = [{i % len(shape) for i in (a if isinstance(a, tuple) else (a,))} for a in axes]
    n_in, n_out, _ = (math.prod(shape[i] for i in p) for p in places)
    rest = set(range(len(shape))) - set.union(*places)
    return n_in, n_out, math.prod(shape[i] for i in rest)


def of_variance(variance, family):
    std = math.sqrt(variance)
    if family == "uniform":
        return stats.uniform(-math.sqrt(3) * std, 2 * math.sqrt(3) * std)
    return stats.norm(0, std) if family == "normal" else stats.truncnorm(-2, 2, 0, std / KEPT)


def truncated(shape, o):
    a, b, mean, std = (o[n] for n in ("a", "b", "mean", "std"))
    if o["bounds"] == "absolute":
        a, b = (a - mean) / std, (b - mean) / std
    return stats.truncnorm(a, b, mean, std)


def fan(shape, o, mode):
    n_in, n_out, field = named(shape, o)
    return {
        "fan_in": n_in * field,
        "fan_out": n_out * field,
        "fan_avg": (n_in + n_out) * field / 2,
        "fan_geo_avg": math.sqrt(n_in * n_out) * field,
    }[mode]


def xavier(family):
    return lambda shape, o: of_variance(
        2 * o["gain"] ** 2 / (fan(shape, o, "fan_in") + fan(shape, o, "fan_out")),
        o.get("distribution", family),
    )


def kaiming(family):
    def law(shape, o):
        slope = {"leaky_relu": 2 / (1 + o["a"] ** 2)}
        gain = (GAINS | slope)[o["nonlinearity"]]
        return of_variance(gain / fan(shape, o, o["mode"]), o.get("distribution", family))

    return law


def lecun(family):
    return lambda shape, o: of_variance(1 / fan(shape, o, "fan_in"), o.get("distribution", family))


def on_a_sphere(n, radius):
    """One coordinate of a uniform point of the sphere in n dimensions."""
    half = (n - 1) / 2
    return stats.beta(half, half, -abs(radius), 2 * abs(radius))


def in_a_column(shape, o):
    rows = shape[o["axis"]]
    return on_a_sphere(max(rows, math.prod(shape) // rows), o["gain"])


LAWS = {
    "uniform": lambda shape, o: stats.uniform(o["a"], o["b"] - o["a"]),
    "normal": lambda shape, o: stats.norm(o["mean"], o["std"]),
    "truncated_normal": truncated,
    "variance_scaling": lambda shape, o: of_variance(
        o["scale"] / fan(shape, o, o["mode"]), o["distribution"]
    ),
    **{f"xavier_{family}": xavier(family) for family in ("uniform", "normal")},
    **{f"kaiming_{family}": kaiming(family) for family in ("uniform", "normal")},
    **{f"lecun_{family}": lecun(family) for family in ("uniform", "normal")},
    "sparse": lambda shape, o: stats.norm(0, o["std"]),  # of what is not 0
    # of one element, over the keys: the elements of one weight are not independent
    "orthogonal": in_a_column,
    "delta_orthogonal": lambda shape, o: on_a_sphere(named(shape, o)[1], o["gain"]),
}
ONE_ELEMENT = ("orthogonal", "delta_orthogonal")


def channels(w, o):
    """(out, in, *field), of a copy."""
    at = {k: o["layout"].index(k[0].upper()) for k in ("out_axis", "in_axis")} if o["layout"] else o
    return np.moveaxis(w, (at["out_axis"], at["in_axis"]), (0, 1)).copy()


def is_orthogonal(w, o):
    m = np.moveaxis(w, o["axis"], 0).reshape(w.shape[o["axis"]], -1)
    m = m if m.shape[0] <= m.shape[1] else m.T
    np.testing.assert_allclose(m @ m.T, o["gain"] ** 2 * np.eye(len(m)), atol=1e-14 * len(m))


def is_delta_orthogonal(w, o):
    w = channels(w, o)
    centre = (slice(None), slice(None), *((k - 1) // 2 for k in w.shape[2:]))
    q = w[centre].copy()
    np.testing.assert_allclose(
        q.T @ q, o["gain"] ** 2 * np.eye(q.shape[1]), atol=1e-14 * w.shape[0]
    )
    w[centre] = 0
    assert not w.any()


def is_dirac(w, o):
    w = channels(w, o)
    n = w.shape[0] // o["groups"]
    for i in np.ndindex(*w.shape):
        out, channel, *place = i
        centre = place == [k // 2 for k in w.shape[2:]]
        assert w[i] == float(centre and out % n == channel)


def is_sparse(w, o):
    rows, columns = w.shape
    zeros = w == 0
    k = math.ceil(o["sparsity"] * rows)
    assert (zeros.sum(0) == k).all()
    if 0 < k < rows and columns > 100:  # every row is as likely, and columns draw their own
        share = k / rows
        scores = (zeros.sum(1) - share * columns) / math.sqrt(columns * share * (1 - share))
        assert abs(np.mean(scores**2) - 1) < 5 * math.sqrt(2 / rows)


STRUCTURES = {
    "zeros": lambda w, o: np.testing.assert_array_equal(w, 0.0),
    "ones": lambda w, o: np.testing.assert_array_equal(w, 1.0),
    "constant": lambda w, o: np.testing.assert_array_equal(w, np.full(w.shape, o["val"])),
    "identity": lambda w, o: np.testing.assert_array_equal(w, np.eye(*w.shape)),
    "orthogonal": is_orthogonal,
    "delta_orthogonal": is_delta_orthogonal,
    "dirac": is_dirac,
    "sparse": is_sparse,
}


def check(spec, trial):
    """Raises AssertionError where the draws of an entry are not of its law, its moments or its
    structure, or where it has neither law nor structure."""
    assert spec.name in LAWS or spec.name in STRUCTURES, f"{spec.name} has no law and no structure"
    shape, options = shape_of(spec, trial, LARGE), complete(spec, trial)
    w = draw(spec, 9, shape, **trial)
    assert w.shape == shape
    assert w.dtype == np.float64
    if spec.name in STRUCTURES:
        STRUCTURES[spec.name](w, options)
    if spec.name not in LAWS:
        assert spec.moments is None
        return
    mean, std = spec.moments(shape, **options)
    assert abs(w.mean() - mean) <= 4 * std / math.sqrt(w.size)
    assert abs(w.std() - std) <= 4 * std * scatter(w) + 1e-15
    law, values = LAWS[spec.name](shape, options), w[w != 0]
    if spec.name in ONE_ELEMENT:
        law, values = one_element(spec, trial, options)
    elif spec.name != "sparse":
        np.testing.assert_allclose([mean, std], [law.mean(), law.std()], rtol=1e-12, atol=1e-15)
    if values.size:
        assert stats.kstest(values, law.cdf).pvalue > PVALUE
        rare = 20 / values.size  # all draws are short of that tail once in exp(20) times
        if spec.name not in ONE_ELEMENT and rare < 0.01:
            assert values.min() <= law.ppf(rare)
            assert values.max() >= law.ppf(1 - rare)
        low, high = law.support()
        slack = 4e-16 * max(abs(values))
        assert low - slack <= values.min()
        assert values.max() <= high + slack


def scatter(w):
    """The relative standard error of a standard deviation, from the kurtosis of the values."""
    spread = w.std() or 1.0
    kurtosis = np.mean(((w - w.mean()) / spread) ** 4)
    return math.sqrt(max(kurtosis - 1, 0) / (4 * w.size))


def one_element(spec, trial, options):
    """The law of one element that can be other than 0, and its value for many keys."""
    shape = shape_of(spec, trial)
    many = np.array([draw(spec, k, shape, **trial) for k in random.split(3, DRAWS)])
    at = np.unravel_index(np.argmax(many[0] != 0), shape)
    return LAWS[spec.name](shape, options), many[:, *at]
