"""A file for somebody else, of any size, that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType

from repltap.errors import StoreError
from repltap.reasons import os_reason
from repltap.store.metadata import fsync_dir


class NewFile:
    """A file that is being written beside its name. Use as a context manager.

    Args:
        path: Its name; an existing file is replaced in the end.

    Attributes:
        size: How many bytes have been written.

    Raises:
        StoreError: It can't be made there.
    """

    def __init__(self, path: Path) -> None:
        path = path.resolve()  # a link's target is replaced, not the link
        if path.name == "-" or (path.exists() and not path.is_file()):
            raise StoreError("is no file to be replaced", path=path, hint="give a file's name")
        self.path = path
        self.size = 0
        # Two that write the same file don't write into each other's; a name that one killed has
        # left behind is in nobody's way, while in a container all have the same process id.
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            self._fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            raise self._error(exc) from exc

    def __enter__(self) -> NewFile:
        """Write to it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what has not been published."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._part.unlink(missing_ok=True)

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            StoreError: They can't be written.
        """
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                try:
                    done += os.write(self._fd, view[done:])
                except OSError as exc:
                    raise self._error(exc) from exc
            self.size += done

    def publish(self) -> None:
        """Let it appear under its name, durable; blocking.

        Raises:
            StoreError: It can't.
        """
        try:
            os.fsync(self._fd)
            self._part.rename(self.path)
            os.close(self._fd)
            self._fd = -1
            fsync_dir(self.path.absolute().parent)
        except OSError as exc:
            raise self._error(exc) from exc

    def _error(self, exc: OSError) -> StoreError:
        return StoreError(f"can't be written: {os_reason(exc)}", path=self.path)
