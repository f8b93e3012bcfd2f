"""A network between a function and a store that can be cut: a TCP proxy that passes, refuses, or swallows."""

import selectors
import socket
import struct
import threading
from contextlib import suppress

from infra.local.process import LOOPBACK, free_port

CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which closing a connection resets it."""


class Proxy:
    """Passes connections to its own `port` on to `target`, a port of the loopback interface.

    `refuse()` resets what is open and refuses what comes; `swallow()` lets nothing through in either direction, and
    answers no attempt to connect either, like a network that drops every packet; `pass_on()` ends both, and what was
    swallowed arrives late, as packets that are sent again do.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self._passing = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._fillers: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.pass_on()

    def pass_on(self) -> None:
        """Let everything through, from now on."""
        self._stop_listening()
        self._passing.set()
        self._listener = self._listen(backlog=128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Reset every connection, and refuse new ones."""
        self._stop_listening()
        self._reset_all()

    def swallow(self) -> None:
        """Let nothing through: no bytes, no new connections, no refusal."""
        self._passing.clear()
        self._stop_listening()
        self._listener = self._listen(backlog=0)
        for _ in range(8):  # whoever comes once the backlog is full gets no answer
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((LOOPBACK, self.port))
            self._fillers.append(filler)

    def close(self) -> None:
        """End it."""
        self._stop_listening()
        self._reset_all()
        self._passing.set()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, backlog: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, self.port))
        listener.listen(backlog)
        return listener

    def _stop_listening(self) -> None:
        for filler in self._fillers:
            _reset(filler)
        self._fillers.clear()
        if self._listener is not None:
            with suppress(OSError):  # wakes the thread that accepts
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _reset_all(self) -> None:
        for pair in self._pairs:
            for end in pair:
                _reset(end)
        self._pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # it listens no more
                return
            try:
                far = socket.create_connection((LOOPBACK, self.target), timeout=5)
            except OSError:
                _reset(near)
                continue
            far.settimeout(None)
            self._pairs.append((near, far))
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            for end in other:
                ready.register(end, selectors.EVENT_READ, data=end)
            while True:
                for key, _ in ready.select(1.0):
                    self._passing.wait()
                    sent = key.data.recv(CHUNK)
                    if not sent:
                        raise OSError("one end has closed")
                    other[key.data].sendall(sent)
        for end in other:
            end.close()


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    with suppress(OSError):  # a thread that waits for it keeps it open else
        end.shutdown(socket.SHUT_RD)
    end.close()
