"""The demo's trainer in JAX. In PyTorch: bpx_torch/demo.py; the loop: bpx/demo/lockstep.py."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bpx.demo.wiring import at
from bpx_jax import RULES
from bpx_jax.bench import saved_bytes
from bpx_jax.optim import adamw
from bpx_jax.oracles import ORACLES

WIRING = {
    "reshape": lambda x, *, shape: x.reshape(x.shape[0], *shape),
    "transpose": lambda x, *, axes: x.transpose(axes),
    "add": jnp.add,
    "pick": lambda x, *, index: x[at(index)],
    "zeros": lambda x, *, axis, width: jnp.zeros((x.shape[axis], width), x.dtype),
    "concat": lambda a, b: jnp.concatenate([a, b]),
}


def prepare(dtype):
    """Before any array is made: float64 is silently float32 unless it is switched on."""
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)


class Trainer:
    """A network of `bpx.demo.network`, its losses and an AdamW for each, on the CPU; one jitted
    step."""

    name = "jax"
    version = jax.__version__

    def __init__(self, network, weights, settings):
        self.network, self.dtype = network, jnp.dtype(settings.dtype)
        self.device = jax.devices("cpu")[0]
        self.settings, self.steps = settings, 0
        self.params = {k: self._put(a) for k, a in weights.items()}
        self.moments = jax.device_put(self._moments(), self.device)
        self._step = jax.jit(self._update, donate_argnums=(0, 1))
        self._values = jax.jit(partial(self._run, RULES, training=False), static_argnums=0)

    def step(self, *arrays):
        """One step of every loss in turn. Returns the loss (or losses), and for each layer with
        parameters its gradient's norm and variance, measured before the step."""
        given = self.given(self.network, arrays)
        rate = self._put(np.asarray(self.settings.rate(self.steps), self.dtype))
        self.params, self.moments, losses, rows = self._step(self.params, self.moments, given, rate)
        self.steps += 1
        losses = np.asarray(losses, np.float64)
        return float(losses[0]) if len(losses) == 1 else losses, np.asarray(rows, np.float64)

    def gradients(self, *arrays, part=0, own=False):
        """The gradient of every parameter that a loss trains: bpx's rules, or JAX's autodiff of
        JAX's operations."""
        part = self.network.parts[part]
        loss = partial(self.loss, ORACLES if own else RULES, part)
        params = {k: self.params[k] for k in part.own}
        grads = jax.jit(jax.grad(loss))(params, self.params, self.given(part, arrays))
        return {k: np.asarray(grads[k]) for k in part.own}

    def values(self, network, *arrays):
        """What the last layer of a network gives, dropout left out."""
        given = self.given(network, arrays)
        return np.asarray(self._values(network, {}, self.params, given))

    def saved(self, *arrays):
        """Bytes kept for backward besides the parameters, by bpx's rules and by JAX's own
        operations: a row for each layer and loss, then each whole network at once."""
        found = {}
        params = tuple(self.params.values())
        for part in self.network.parts:
            given, calls = self.given(part, arrays), []

            def call(layer, arrays, part=part, calls=calls):
                if not layer.wiring and layer.name.startswith(part.trains):
                    calls.append((layer.name, layer.entry, arrays, layer.complete))
                return _call(RULES, layer, arrays)

            logits = part.apply(call, self.params, given, training=True)
            ends = (logits, given[part.target], *part.loss_absent())
            calls.append((f"{part.name} {part.loss}".strip(), part.loss, ends, {}))
            for name, entry, inputs, options in calls:
                wrt = [i for i, a in enumerate(inputs) if _floating(a)]
                wrt = wrt[:1] if entry == part.loss else wrt
                found[name] = tuple(
                    saved_bytes(
                        partial(_of, partial(table[entry], **options), inputs, wrt),
                        [inputs[i] for i in wrt],
                        params,
                    ).made
                    for table in (RULES, ORACLES)
                )
            own = {k: self.params[k] for k in part.own}
            found[f"whole network {part.name}".strip()] = tuple(
                saved_bytes(partial(self._of_own, table, part, given), (own,), params).made
                for table in (RULES, ORACLES)
            )
        return found

    def state(self):
        """Everything the next step depends on, as copies: params/*, m/*, v/* and t."""
        mu = {k: a for state in self.moments for k, a in state[0].mu.items()}
        nu = {k: a for state in self.moments for k, a in state[0].nu.items()}
        arrays = {}
        for short, tree in (("params", self.params), ("m", mu), ("v", nu)):
            arrays |= {f"{short}/{k}": np.array(tree[k]) for k in self.params}
        return {**arrays, "t": np.array(int(self.moments[0][0].count), np.int64)}

    def load(self, arrays):
        """Go on from what `state` gave, in either framework."""
        self.steps = int(arrays["t"])
        self.params, mu, nu = (
            {k: self._put(arrays[f"{short}/{k}"]) for k in self.params}
            for short in ("params", "m", "v")
        )
        states = []
        for part, (adam, *rest) in zip(self.network.parts, self.moments, strict=True):
            count = self._put(arrays["t"].astype(np.int32))
            own = ({k: tree[k] for k in part.own} for tree in (mu, nu))
            mine = dict(zip(("mu", "nu"), own, strict=True))
            states.append((adam._replace(count=count, **mine), *rest))
        self.moments = tuple(states)

    def _adamw(self, rate):
        b1, b2 = self.settings.betas
        return adamw(rate, b1, b2, weight_decay=self.settings.weight_decay)

    def _moments(self):
        parts = self.network.parts
        return tuple(self._adamw(0.0).init({k: self.params[k] for k in p.own}) for p in parts)

    def _put(self, a):
        # jnp.array copies: a buffer that shares NumPy's memory must not be given away
        return jax.device_put(jnp.array(a), self.device)

    def given(self, part, arrays):
        kinds = {"f": self.dtype, "i": np.int32, "u": np.uint8}
        given = part.parts[0].given(arrays)
        return {name: self._put(a.astype(kinds[a.dtype.kind])) for name, a in given.items()}

    def _run(self, table, part, own, params, given, *, training=True):
        # a network that this loss does not train is a constant to it: own is what is trained
        return part.apply(partial(_call, table), {**params, **own}, given, training=training)

    def loss(self, table, part, own, params, given):
        logits = self._run(table, part, own, params, given)
        return table[part.loss](logits, given[part.target], *part.loss_absent())

    def _of_own(self, table, part, given, own):
        return self.loss(table, part, own, self.params, given)

    def _update(self, params, moments, given, rate):
        states, losses, rows = [], [], []
        for part, state in zip(self.network.parts, moments, strict=True):
            own = {k: params[k] for k in part.own}
            loss, grads = jax.value_and_grad(partial(self.loss, RULES, part))(own, params, given)
            for layer in part.trained:
                g = jnp.concatenate([grads[name].reshape(-1) for name in layer.names])
                rows.append(jnp.stack([jnp.linalg.norm(g), jnp.var(g)]))
            updates, state = self._adamw(rate).update(grads, state, own)
            params = {**params, **jax.tree.map(jnp.add, own, updates)}
            states.append(state)
            losses.append(loss)
        return params, tuple(states), jnp.stack(losses), jnp.stack(rows)


def _call(table, layer, arrays):
    return (WIRING if layer.wiring else table)[layer.entry](*arrays, **layer.complete)


def _floating(a):
    return a is not None and jnp.issubdtype(a.dtype, jnp.floating)


def _of(f, inputs, wrt, *floats):
    full = list(inputs)
    for i, a in zip(wrt, floats, strict=True):
        full[i] = a
    return f(*full)


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
