"""Which framework a rule is written in."""

from __future__ import annotations

import sys
from typing import Any

from bpx.spec import SpecError


def framework_of(rule: Any) -> str:
    """The framework a rule belongs to, from what it is made of."""
    owner = rule if isinstance(rule, type) else getattr(rule, "__self__", None)
    kinds = [c.__module__ for c in type(rule).__mro__]
    kinds += [c.__module__ for c in getattr(owner, "__mro__", ())]
    inner = getattr(rule, "__wrapped__", rule)
    reached = getattr(inner, "__globals__", {})
    code = getattr(inner, "__code__", None)
    used = set(code.co_names) if code is not None else set()
    for name in used & set(reached):
        value = reached[name]
        kinds.append(getattr(value, "__module__", None) or getattr(value, "__name__", "") or "")
        kinds.append(type(value).__module__)
        kinds.append(getattr(getattr(value, "__self__", None), "__module__", "") or "")
    kinds.append(getattr(inner, "__module__", "") or "")
    roots = {k.partition(".")[0] for k in kinds}
    torch, jax = (
        "torch" in roots or "bpx_torch" in roots,
        bool(roots & {"jax", "jaxlib", "bpx_jax", "flax", "equinox"}),
    )
    if torch != jax:
        return "torch" if torch else "jax"
    loaded = [n for n in ("torch", "jax") if n in sys.modules]
    if not torch and len(loaded) == 1:
        return loaded[0]
    raise SpecError(
        "verify_rule: framework is None and the rule does not show it, expected 'torch' or 'jax'"
    )
