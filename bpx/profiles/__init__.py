"""What other libraries do under a name, as data: the defaults and conventions of "torch", "flax",
"optax" and "keras" for the entries in which they differ.

    TABLE["layer_norm"]["keras"].options        {"eps": 1e-3}

The faces execute it: `profile="keras"` gives a call what that library would take for every option
that the call leaves out. Options are spelled as in the entry, and `profiled` respells them for a
face. An option of value REQUIRED has no default in that library. The files beside this one hold the
tables; the tests run each against that library itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from bpx.profiles import _initializers, _layers, _losses, _optimizers, _recurrent
from bpx.profiles._profile import NAMES, REQUIRED, Profile
from bpx.spec import SpecError

__all__ = [
    "NAMES",
    "REQUIRED",
    "TABLE",
    "Profile",
    "find",
    "gate_rows",
    "missing",
    "profiled",
    "recurrent_parameters",
    "settings",
]

TABLE: dict[str, Mapping[str, Profile]] = {
    **_layers.TABLE,
    **_recurrent.TABLE,
    **_losses.TABLE,
    **_initializers.TABLE,
    **_optimizers.TABLE,
}
Options = dict[str, Any]
Respell = Callable[[Options], Options]


def find(entry: str, profile: str) -> Profile:
    """The profile of an entry. Raises SpecError where the entry has none of that name."""
    have = TABLE[entry]
    found = have.get(profile) if isinstance(profile, str) else None
    if found is None:
        why = "" if profile not in NAMES else f" ({profile} has nothing of its own there)"
        raise SpecError(
            f"{entry}: profile is {profile!r}, expected one of {list(have)}, or None{why}"
        )
    return found


def settings(entry: str, profile: str, *, module: bool = False) -> Options:
    """Every option of a profile; those of the library's layer rather than its function, where the
    two differ and `module` is True."""
    found = find(entry, profile)
    return {**found.options, **(found.module if module else {})}


def recurrent_parameters(
    entry: str, profile: str, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Any:
    """(w_ih, w_hh, b_ih, b_hh) in torch's rows, for "lstm" or "gru", of another library's.

    Args:
        entry: "lstm" or "gru".
        profile: whose parameters they are.
        w_ih: the input kernel, (I, gates * H) in flax and keras.
        w_hh: the recurrent kernel, (H, gates * H) there.
        b_ih: the bias (gates * H), of whichever side the library adds it to but for the n of flax's
            and keras's GRU, which is the input's; keras's GRU has (2, 3H).
        b_hh: the second bias, where there is one.

    Raises:
        SpecError: a profile that the entry has not.
    """
    return _recurrent.in_rows(entry, find(entry, profile), w_ih, w_hh, b_ih, b_hh)


def gate_rows(entry: str, profile: str | None, size: int) -> list[tuple[slice, float]]:
    """(rows of the input bias of "lstm" or "gru", their first value) for each gate whose bias does
    not start as the others under a profile: 1 for the forget gate in keras."""
    return [] if profile is None else _recurrent.gate_rows(entry, find(entry, profile), size)


def missing(entry: str, profile: str, options: Options, given: Any) -> Options:
    """The options that a call has not given. Raises SpecError for one that has no default."""
    left = {k: v for k, v in options.items() if k not in given}
    for name, value in left.items():
        if value is REQUIRED:
            raise SpecError(
                f"{entry}: {name} is not given, expected a value ({profile} has no default for it)"
            )
    return left


def profiled(
    entry: str,
    respell: Respell | None = None,
    *,
    skip: tuple[str, ...] = (),
    beyond: tuple[str, ...] = (),
    module: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function of a face the keyword `profile`, which is passed on where it has one itself.

    Args:
        entry: the entry whose profiles it takes.
        respell: the entry's options -> the function's arguments, where the names differ.
        skip: options that the function has no argument for, having no such feature.
        beyond: arguments of the function that the library it stands in for has not. They are taken
            by keyword and are not shown in the signature, which stays that library's.
        module: take the options of the library's layer where function and layer differ.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        names = list(signature.parameters)
        every = {}
        for name in TABLE[entry]:
            options = settings(entry, name, module=module)
            options = {k: v for k, v in options.items() if k not in skip}
            every[name] = respell(options) if respell else options
            if unknown := set(every[name]) - set(names):
                raise TypeError(f"{entry}: {function.__qualname__} has no {sorted(unknown)}")

        @functools.wraps(function)
        def call(*args: Any, profile: str | None = None, **kwargs: Any) -> Any:
            if profile is None:
                return function(*args, **kwargs)
            find(entry, profile)
            given = {*names[: len(args)], *kwargs}
            if "profile" in names:
                kwargs["profile"] = profile
            return function(*args, **kwargs, **missing(entry, profile, every[profile], given))

        shown = [p for p in signature.parameters.values() if p.name not in beyond]
        vars(call)["__signature__"] = signature.replace(parameters=shown)
        call.__doc__ = _told(function.__doc__, entry)
        return call

    return decorate


def _told(doc: str | None, entry: str) -> str:
    names = ", ".join(f'"{n}"' for n in TABLE[entry])
    own = f"profile= (by keyword) takes the defaults and conventions of {names}; docs/profiles.md."
    return f"{inspect.cleandoc(doc)}\n\n{own}" if doc else own
