"""Replies of a server, read by hiredis within bounds.

hiredis makes room for as many elements as a header announces, before the first has come: one of
twenty bytes takes gigabytes. So headers are looked at here first. It also raises what a dictionary
raises when a key is a list. All of that is the peer's doing, and one error here.
"""

from __future__ import annotations

import re

import hiredis

from repltap.errors import RemoteProtocolError

_MAX_LINE_BYTES = 16 << 10
"""Lines are lengths, numbers and what an error says."""

_COUNT = re.compile(rb"-1|[0-9]{1,10}")
_ARRAYS = b"*~>"
_MAPS = b"%"
_BULKS = b"$=!"
_SIGNS = _ARRAYS + _MAPS + _BULKS + b"+-:_#,("


class ReplyReader:
    """Incremental; of no further use after an error.

    Args:
        max_bytes: Of one reply, all in all.
        max_elements: That one reply may have announced and not sent yet; eight bytes each.
    """

    def __init__(self, max_bytes: int, max_elements: int) -> None:
        self._max_bytes = max_bytes
        self._max_elements = max_elements
        self._reader = hiredis.Reader()
        self._line = b""  # the beginning of one whose end has not come
        self._bulk = 0  # bytes of a string that are still to come, with its end
        self._missing = 0  # elements of the reply that are still to come; 0 between replies
        self._size = 0  # of the reply, so far

    def feed(self, data: bytes) -> None:
        """Take what was received.

        Raises:
            RemoteProtocolError: It goes past a limit, or is no RESP.
        """
        known = self._line + data
        self._line = b""
        position = 0
        while position < len(known):
            position = self._skip(known, position) if self._bulk else self._header(known, position)
        self._reader.feed(data)

    def gets(self) -> object:
        """Take a reply; False while none is whole.

        Raises:
            RemoteProtocolError: It can't be made sense of.
        """
        try:
            return self._reader.gets()
        except hiredis.ProtocolError as failure:
            raise RemoteProtocolError(f"not RESP: {failure}") from None
        except (TypeError, ValueError):
            raise RemoteProtocolError("not RESP: a key that can't be one") from None

    # -- inside ----------------------------------------------------------------------------------

    def _skip(self, data: bytes, position: int) -> int:
        taken = min(self._bulk, len(data) - position)
        self._bulk -= taken
        self._grow(taken)
        if not self._bulk:
            self._complete()
        return position + taken

    def _header(self, data: bytes, position: int) -> int:
        """Look at a line, or keep the part of one that is there."""
        if data[position : position + 1] not in _SIGNS:
            raise RemoteProtocolError("not RESP: a reply begins with none of its signs")
        end = data.find(b"\r\n", position)
        if (len(data) if end < 0 else end) - position > _MAX_LINE_BYTES:
            raise RemoteProtocolError("not RESP: a line that does not end")
        if end < 0:
            self._line = data[position:]
            return len(data)
        self._grow(end + 2 - position)
        self._take(data[position : position + 1], data[position + 1 : end])
        return end + 2

    def _take(self, kind: bytes, rest: bytes) -> None:
        self._missing = max(1, self._missing)
        if kind not in _ARRAYS + _MAPS + _BULKS:
            self._complete()
            return
        if _COUNT.fullmatch(rest) is None:
            raise RemoteProtocolError("not RESP: a length that is none")
        count = int(rest)
        if kind in _BULKS:
            if count < 0:
                self._complete()
            else:
                if self._size + count > self._max_bytes:
                    raise self._too_large()
                self._bulk = count + 2
            return
        self._missing += max(0, count) * (2 if kind in _MAPS else 1)
        if self._missing > self._max_elements:
            raise RemoteProtocolError("the answer announces too many elements")
        self._complete()

    def _complete(self) -> None:
        """An element is whole, or the header of one that has others in it."""
        self._missing -= 1
        if not self._missing:
            self._size = 0

    def _grow(self, count: int) -> None:
        self._size += count
        if self._size > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"the answer does not end: it has more than {self._max_bytes} bytes"
        )
