"""Exceptions and warnings of the package."""

from __future__ import annotations

__all__ = ["BackendUnavailableError", "ConvergenceWarning", "FallbackWarning", "StoreError"]


class BackendUnavailableError(RuntimeError):
    """A backend was asked for by name and cannot work here; the message says what is missing."""


class ConvergenceWarning(UserWarning):
    """Some runs of a call ended without convergence; their status says which."""


class FallbackWarning(UserWarning):
    """No compiled backend works here: calls run on NumPy and SciPy, slower, and promise less."""


class StoreError(OSError):
    """A sweep's store cannot be written or read now; what it held before it still holds."""
