"""A stream for standard error that lets no value through."""

from __future__ import annotations

import io
import secrets
import threading
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from mcp_server.core.guard._guard import Guard

__all__ = ["GuardedStream", "guarded_text"]

_MAX_LINE = 64 << 10
# As much of what was already written as a needle and the separators within it can span.
_CARRY = 512


class GuardedStream(io.RawIOBase):
    """Writes whole lines to another stream; a line that holds a value is replaced.

    What the line says instead is fixed but for a random incident id. A line without an end is
    written on ``flush`` or once it is 64 KiB long. The end of what was written before is searched
    again with each line, so a value split over lines or writes is found from its sixth character
    on. Has no file descriptor: a child cannot inherit the unguarded stream through it.

    Args:
        guard: Knows the values.
        stream: Where lines go. Closed with this stream.
    """

    name = "<stderr>"

    def __init__(self, guard: Guard, stream: BinaryIO) -> None:
        super().__init__()
        self._guard = guard
        self._stream = stream
        self._pending = b""
        self._carry = b""
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return "<guarded stream>"

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """As the stream beneath."""
        return self._stream.isatty()

    def write(self, data: object, /) -> int:
        """Take bytes; all of them are taken."""
        chunk = bytes(data)  # type: ignore[call-overload]  # any buffer, as io.RawIOBase says
        with self._lock:
            *lines, rest = (self._pending + chunk).splitlines(keepends=True) or [b""]
            if rest.endswith(b"\n") or len(rest) > _MAX_LINE:
                lines.append(rest)
                rest = b""
            self._pending = rest
            self._emit(lines)
        return len(chunk)

    def flush(self) -> None:
        """Write the unfinished line too."""
        if self.closed:
            return
        with self._lock:
            rest, self._pending = self._pending, b""
            self._emit([rest] if rest else [])

    def close(self) -> None:
        """Flush and close, also the stream beneath."""
        if not self.closed:
            self.flush()
            self._stream.close()
        super().close()

    def _emit(self, lines: list[bytes]) -> None:
        for line in lines:
            verdict = self._guard.check(self._carry + line)
            if verdict.reason is None:
                self._carry = (self._carry + line)[-_CARRY:]
                self._stream.write(line)
            else:
                self._carry = b""
                self._stream.write(_notice(verdict.reason.value, line))
        self._stream.flush()


def _notice(sentence: str, line: bytes) -> bytes:
    end = "\n" if line.endswith(b"\n") else " "
    return f"{sentence} Incident {secrets.token_hex(4)}.{end}".encode()


def guarded_text(guard: Guard, stream: BinaryIO) -> io.TextIOWrapper:
    """A text stream over a ``GuardedStream``, fit to take the place of ``sys.stderr``."""
    return io.TextIOWrapper(
        GuardedStream(guard, stream),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )
