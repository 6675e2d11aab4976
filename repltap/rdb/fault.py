"""What the hot loops raise: plain values, made into the error of the tree by who knows the file."""

from __future__ import annotations


class FaultError(Exception):
    """Bytes that can't be what they should be.

    Args:
        message: What is wrong, without a place.
        position: Where in the bytes that were looked at.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
