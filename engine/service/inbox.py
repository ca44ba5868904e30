"""Requests waiting for the engine process, and which running work they make pointless."""

from __future__ import annotations

import threading
from collections import deque
from typing import IO

import msgspec

from engine.framing import read_frame
from engine.service.messages import AnyRequest, Cancel, Open, Request, UpdatePlan


class Inbox:
    """A queue filled by a reader thread. Cancel requests never queue: they are looked up by the running work."""

    def __init__(self) -> None:
        self._requests: deque[AnyRequest] = deque()
        self._cancelled: set[int] = set()
        self._changed = threading.Condition()
        self._closed = False

    def listen(self, stream: IO[bytes]) -> threading.Thread:
        """Start reading requests until the stream ends or turns to garbage."""
        thread = threading.Thread(target=self._read, args=(stream,), name="requests", daemon=True)
        thread.start()
        return thread

    def _read(self, stream: IO[bytes]) -> None:
        decoder = msgspec.msgpack.Decoder(AnyRequest)
        try:
            while (payload := read_frame(stream)) is not None:
                self.put(decoder.decode(payload))
        except (ValueError, msgspec.DecodeError, OSError):
            pass  # the window is gone or broken: nothing that is read from here on can be trusted
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def put(self, request: AnyRequest) -> None:
        with self._changed:
            if isinstance(request, Cancel):
                self._cancelled.add(request.target_id)
            else:
                self._requests.append(request)
            self._changed.notify_all()

    def take(self, block: bool) -> AnyRequest | None:
        """The next request; None when there is none (and ``block`` is false) or the stream has ended."""
        with self._changed:
            while block and not self._requests and not self._closed:
                self._changed.wait()
            return self._requests.popleft() if self._requests else None

    def take_if(self, kinds: tuple[type[Request], ...]) -> AnyRequest | None:
        """The next request if it is of one of the kinds; None otherwise."""
        with self._changed:
            is_wanted = bool(self._requests) and isinstance(self._requests[0], kinds)
            return self._requests.popleft() if is_wanted else None

    @property
    def closed(self) -> bool:
        """Whether the stream has ended and every request was taken."""
        with self._changed:
            return self._closed and not self._requests

    @property
    def is_waiting(self) -> bool:
        """Whether a request waits to be taken."""
        with self._changed:
            return bool(self._requests)

    def is_cancelled(self, request_id: int) -> bool:
        """Whether the request was cancelled, or the stream ended."""
        with self._changed:
            return request_id in self._cancelled or self._closed

    def has_newer_plan(self, between: tuple[type[Request], ...]) -> bool:
        """Whether another plan waits, with nothing but requests of the kinds ``between`` before it."""
        with self._changed:
            first = next((request for request in self._requests if not isinstance(request, between)), None)
            return isinstance(first, UpdatePlan)

    def supersedes_live_work(self) -> bool:
        """Whether a waiting request makes the errors of the present plan pointless."""
        with self._changed:
            return self._closed or any(isinstance(r, UpdatePlan | Open) for r in self._requests)
