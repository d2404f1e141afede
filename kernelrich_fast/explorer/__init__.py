"""A page on which sliders move training from the kernel to the rich regime (extra [explore])."""

from .server import Explorer, explore

__all__ = ["Explorer", "explore"]
