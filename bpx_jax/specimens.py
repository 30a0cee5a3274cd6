"""The networks of bpx/demo/specimens.py in JAX, trained with tags. In PyTorch:
bpx_torch/specimens.py."""

import jax
import jax.numpy as jnp

from bpx.demo import specimens
from bpx_jax import health, nn, optim
from bpx_jax.losses.cross_entropy import cross_entropy

# what an op of a specimen gives, for its tag
KINDS = {
    "linear": "linear",
    "conv": "linear",
    "layer_norm": "norm",
    "batch_norm": "norm",
    "rnn": "recurrent",
    "lstm": "recurrent",
    **{name: name for name in ("relu", "tanh", "sigmoid", "softmax")},
}


def make(name, *sizes, **options):
    return getattr(nn, name)(*sizes, **options)


MODULES = {
    "linear": nn.Linear,
    "conv": lambda i, o: make("Conv", i, o, (3, 3), padding=1),
    "layer_norm": nn.LayerNorm,
    "batch_norm": nn.BatchNorm,
    "attention": nn.MultiheadAttention,
    "lstm": lambda i, h: make("LSTM", i, h, batch_first=True),
}
FUNCTIONS = {
    "relu": nn.relu,
    "tanh": nn.tanh,
    "sigmoid": nn.sigmoid,
    "softmax": nn.softmax,
    "exp": jnp.exp,
    "sqrt": jnp.sqrt,
    "last": lambda x: x[:, -1],
    "pool": lambda x: x.mean((2, 3)),
}
# the same in JAX's own functions, for the ops that networks without bpx use here
OWN = FUNCTIONS | {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softmax": jax.nn.softmax,
}


def forward(ops, params, x, functions, prefix=""):
    for i, (op, *sizes) in enumerate(ops):
        name, own = f"{prefix}{i}", params.get(str(i), {})
        if op == "residual":
            x = x + forward(sizes, own, x, functions, f"{name}.")
            continue
        if op == "rnn":
            x = recurrence(own, x, functions["relu"])
        elif op == "linear" and functions is OWN:
            x = x @ own["weight"].T + own["bias"].reshape((1,) * (x.ndim - 1) + (-1,))
        elif op in MODULES:
            x = MODULES[op](*sizes).apply(own, x, **({"training": True} if "norm" in op else {}))
            x = x[0] if op == "lstm" else x
        else:
            x = functions[op](x)
        x = health.tag(x, name, KINDS.get(op, ""), 1 if x.ndim == 4 else -1)
    return x


def recurrence(params, x, act):
    """A recurrence with an activation of choice as a scan, which keeps every state."""

    def step(h, x):
        first = x @ params["weight_ih_l0"].T + params["bias_ih_l0"][None]
        h = act(first + h @ params["weight_hh_l0"].T + params["bias_hh_l0"][None])
        return h, h

    start = jnp.zeros((x.shape[0], params["weight_hh_l0"].shape[1]), x.dtype)
    return jnp.swapaxes(jax.lax.scan(step, start, jnp.swapaxes(x, 0, 1))[1], 0, 1)


def loss_of(specimen, params, x, labels, functions):
    y = forward(specimen.ops, params, x, functions)
    if specimen.loss == "log":
        share = y / y.sum(1, keepdims=True)
        value = -jnp.log(share[jnp.arange(len(y)), labels]).mean()
    else:
        value = cross_entropy(y, labels)
    return health.tag(value, "loss", "loss")


def report(specimen, seed, face="bpx", every=specimens.EVERY, jit=True):
    """Train a specimen with bpx's layers, or with JAX's own activations and products; its
    health.Report."""
    functions = {"bpx": FUNCTIONS, "own": OWN}[face]
    params = nn.nested(jax.tree.map(jnp.asarray, specimens.weights(specimen, seed)))
    maker = {"sgd": optim.sgd, "adam": optim.adam}[specimen.optimizer]
    optimizer = maker(specimen.lr)
    grads_of = health.value_and_grad(
        lambda params, x, labels: loss_of(specimen, params, x, labels, functions)
    )

    def step(params, state, x, labels, sample):
        (_, grads), seen = grads_of(params, x, labels, sample=sample)
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return params, state, health.with_updates(seen, updates)

    step = jax.jit(step) if jit else step
    state, history = optimizer.init(params), health.History()
    for i, (x, labels) in enumerate(specimens.batches(specimen, seed)):
        sample = jnp.asarray(i % every == 0) if jit else i % every == 0
        params, state, seen = step(params, state, x, labels, sample)
        history.add(i, seen)
    return history.report()
