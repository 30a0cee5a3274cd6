"""The demo's trainer in JAX. In PyTorch: bpx_torch/demo.py; the loop: bpx/demo/lockstep.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bpx_jax import RULES
from bpx_jax.bench import saved_bytes
from bpx_jax.optim import adamw
from bpx_jax.oracles import ORACLES


def prepare(dtype):
    """Before any array is made: float64 is silently float32 unless it is switched on."""
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)


class Trainer:
    """A network of `bpx.demo.network`, its loss and AdamW, on the CPU; one jitted step."""

    name = "jax"
    version = jax.__version__

    def __init__(self, network, weights, settings):
        self.network, self.dtype = network, jnp.dtype(settings.dtype)
        self.device = jax.devices("cpu")[0]
        self.optimizer = adamw(settings.lr, weight_decay=settings.weight_decay)
        self.params = {k: self._put(a) for k, a in weights.items()}
        self.moments = jax.device_put(self.optimizer.init(self.params), self.device)
        self._step = jax.jit(self._update, donate_argnums=(0, 1))
        self._hits = jax.jit(self._right)

    def step(self, x, y):
        """One step. Returns the loss, and for each layer with parameters its gradient's norm and
        variance, measured before the step."""
        batch = self._batch(x, y)
        self.params, self.moments, loss, rows = self._step(self.params, self.moments, *batch)
        return float(loss), np.asarray(rows, np.float64)

    def gradients(self, x, y, *, own=False):
        """The gradient of every parameter: bpx's rules, or JAX's autodiff of JAX's operations."""
        loss = functools.partial(self._loss, ORACLES if own else RULES)
        grads = jax.jit(jax.grad(loss))(self.params, *self._batch(x, y))
        return {k: np.asarray(grads[k]) for k in self.params}

    def accuracy(self, x, y):
        return int(self._hits(self.params, *self._batch(x, y))) / len(y)

    def saved(self, x, y):
        """Bytes kept for backward besides the parameters, by bpx's rules and by JAX's own
        operations: a row for each layer and the loss, then the whole network at once."""
        x, y = self._batch(x, y)
        found, h, params = {}, x, tuple(self.params.values())
        for layer in self.network.layers:
            arrays = (h, *(self.params[name] for name in layer.names))
            options = dict(layer.options)
            found[layer.name] = tuple(
                saved_bytes(functools.partial(table[layer.entry], **options), arrays, params).made
                for table in (RULES, ORACLES)
            )
            h = RULES[layer.entry](*arrays, **options)
        name = self.network.loss
        found[name] = tuple(
            saved_bytes(lambda a, f=table[name]: f(a, y, None), (h,), params).made
            for table in (RULES, ORACLES)
        )
        losses = (functools.partial(self._loss, table) for table in (RULES, ORACLES))
        found["whole network"] = tuple(
            saved_bytes(lambda p, f=f: f(p, x, y), (self.params,), params).made for f in losses
        )
        return found

    def state(self):
        """Everything the next step depends on, as copies: params/*, m/*, v/* and t."""
        adam = self.moments[0]
        arrays = {}
        for short, tree in (("params", self.params), ("m", adam.mu), ("v", adam.nu)):
            arrays |= {f"{short}/{k}": np.array(tree[k]) for k in self.params}
        return {**arrays, "t": np.array(int(adam.count), np.int64)}

    def load(self, arrays):
        """Go on from what `state` gave, in either framework."""
        params, mu, nu = (
            {k: self._put(arrays[f"{short}/{k}"]) for k in self.params}
            for short in ("params", "m", "v")
        )
        adam, *rest = self.moments
        count = self._put(arrays["t"].astype(np.int32))
        self.params, self.moments = params, (adam._replace(count=count, mu=mu, nu=nu), *rest)

    def _put(self, a):
        # jnp.array copies: a buffer that shares NumPy's memory must not be given away
        return jax.device_put(jnp.array(a), self.device)

    def _batch(self, x, y):
        return self._put(x.astype(self.dtype)), self._put(y.astype(np.int32))

    def _logits(self, table, params, h):
        for layer in self.network.layers:
            h = table[layer.entry](h, *(params[name] for name in layer.names), **layer.options)
        return h

    def _loss(self, table, params, x, y):
        return table[self.network.loss](self._logits(table, params, x), y, None)

    def _update(self, params, moments, x, y):
        loss, grads = jax.value_and_grad(functools.partial(self._loss, RULES))(params, x, y)
        rows = []
        for layer in self.network.trained:
            g = jnp.concatenate([grads[name].reshape(-1) for name in layer.names])
            rows.append(jnp.stack([jnp.linalg.norm(g), jnp.var(g)]))
        updates, moments = self.optimizer.update(grads, moments, params)
        return jax.tree.map(jnp.add, params, updates), moments, loss, jnp.stack(rows)

    def _right(self, params, x, y):
        found = self._logits(RULES, params, x).argmax(-1)
        return (found.astype(y.dtype) == y).sum()


def walk(chain, values):
    """The toy model of `bpx.demo.walk`: its quantities and the gradients of the loss, by name."""
    prepare("float64")
    leaves = {k: jnp.array(v, jnp.float64) for k, v in values.items()}

    def run(leaves, nudges):
        # what is added to a quantity is 0, its gradient is that of the quantity
        found = dict(leaves)
        for name, entry, inputs in chain:
            found[name] = RULES[entry](*(found[i] for i in inputs)) + nudges[name]
        return found["loss"], found

    zero = {name: jnp.zeros((), jnp.float64) for name, *_ in chain}
    (_, found), grads = jax.value_and_grad(run, (0, 1), has_aux=True)(leaves, zero)
    forward = {name: float(found[name]) for name, *_ in chain}
    return forward | {f"d{k}": float(g) for part in grads for k, g in part.items()}
