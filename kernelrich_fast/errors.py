"""Exceptions and warnings of the package."""

from __future__ import annotations

__all__ = ["BackendUnavailableError", "ConvergenceWarning", "FallbackWarning", "StoreError"]


class BackendUnavailableError(RuntimeError):
    """A backend that was requested by name does not work here; the message says what is missing."""


class ConvergenceWarning(UserWarning):
    """Some runs of a call ended without convergence; their status says which."""


class FallbackWarning(UserWarning):
    """No compiled backend works here: calls use NumPy and SciPy, slower and less accurate."""


class StoreError(OSError):
    """The store of a sweep cannot be written or read; data stored before are unchanged."""
