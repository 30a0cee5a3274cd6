"""What a function of a module answers while a test runs."""

from __future__ import annotations

from typing import Any

import pytest


def answers(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """A list that each answer of the function is put on."""
    found: list[Any] = []
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a: found.append(real(*a)) or found[-1])
    return found


def constants(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[dict[str, Any]]:
    """A list that the keyword arguments of each call of the function are put on."""
    found: list[dict[str, Any]] = []
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: found.append(k) or real(*a, **k))
    return found
