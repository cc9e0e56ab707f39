"""gunicorn's threaded worker, for clients that are slow on purpose and servers that are told to stop."""

import contextlib
import json
import logging
import socket
import time
from collections import deque
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from headstand.serve.exchange import Exchange
from headstand.serve.logs import REQUESTS
from headstand.serve.problem import MEDIA_TYPE, problem
from headstand.serve.tally import Tally

RECEIVE_SECONDS = 30.0
"""Seconds within which a request must be here, headers and body, counted from its first byte."""

PAUSE = 0.1
"""Seconds before a refused client's next request on the same connection is read. Refusing costs little, but a client
that comes again at once, as many do, would have the service do nothing else."""

COURTESY = 0.005
"""Seconds for which a worker leaves a new connection to another one that has less to do."""

TALLY = Tally()
"""What each worker has to do; gunicorn.conf.py removes those that end."""

_CODES = {LimitRequestLine: "uri_too_long", LimitRequestHeaders: "headers_too_large"}

_requests = logging.getLogger(REQUESTS)


class Worker(ThreadWorker):
    """Adds five things to its base.

    A request that comes byte by byte is cut off in time: the base would give it a thread for as long as it likes. A
    client that does not hang up is waited for in a thread: the base would wait in its main loop, and nobody else be
    accepted meanwhile. A client that was refused is left alone for a moment. A new connection goes to the worker that
    has least to do: left to chance, eight clients that keep theirs are often all one worker's. And a worker that stops
    takes what the system has accepted already, then closes its door, so that whoever comes later is refused rather than
    accepted and dropped.
    """

    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[TConn, float] = {}
        self._refused: set[socket.socket] = set()
        self._paused: deque[tuple[float, TConn, Future[Any]]] = deque()
        self._left_until = 0.0

    def load_wsgi(self) -> None:
        """Load the application, warm it once more, and note what it refuses."""
        super().load_wsgi()
        application = self.wsgi
        # After a fork the first run copies the memory that it writes to: better now than in somebody's request.
        application.extensions["headstand"].warm()

        def noting(environ: dict[str, Any], start_response: Any) -> Any:
            def start(status: str, *rest: Any) -> Any:
                if status.startswith("503"):
                    self._refused.add(environ["gunicorn.socket"])
                return start_response(status, *rest)

            return application(environ, start)

        self.wsgi = noting
        TALLY.tell(self.age, 0)

    def handle(self, conn: TConn) -> Any:
        """One request of a connection, in a thread of the pool."""
        self._deadlines[conn] = time.monotonic() + RECEIVE_SECONDS
        kept = False
        try:
            kept = super().handle(conn)
            return kept
        finally:
            del self._deadlines[conn]
            if not kept:
                conn.close(graceful=True)
                conn.close = lambda graceful=False: None

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """In the main loop, after a request: wait for the connection's next one, at once or after a pause."""
        if conn.sock in self._refused:
            self._refused.discard(conn.sock)
            self._paused.append((time.monotonic() + PAUSE, conn, fs))
        else:
            super().finish_request(conn, fs)

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, unless a worker that has less to do may take it within the next moment."""
        now = time.monotonic()
        # Whoever is still there after that moment is taken: the other worker may be stuck.
        waited = self._left_until <= now <= self._left_until + COURTESY
        if self.alive and not waited and self._busy() > TALLY.least():
            if now > self._left_until:
                self._left_until = now + COURTESY
            self.set_accept_enabled(False)
            return
        self._left_until = 0.0
        super().accept(listener)
        TALLY.tell(self.age, self._busy())

    def _leaves(self) -> bool:
        """Whether new connections are another worker's for now."""
        return self.alive and time.monotonic() < self._left_until and self._busy() > TALLY.least()

    def _busy(self) -> int:
        """Connections that a thread is working on, or that wait for one."""
        return self.nr_conns - len(self.keepalived_conns) - len(self.pending_conns) - len(self._paused)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the main loop."""
        TALLY.tell(self.age, self._busy())
        if self._paused:
            timeout = min(timeout, max(self._paused[0][0] - time.monotonic(), 0.0))
        if self._leaves():
            timeout = min(timeout, COURTESY / 5)  # to see whether the other one still has less to do
        super().wait_for_and_dispatch_events(timeout)
        while self._paused and self._paused[0][0] <= time.monotonic():
            _, conn, fs = self._paused.popleft()
            super().finish_request(conn, fs)

    def notify(self) -> None:
        """Called by the main loop at least once a second: tell the master of our life, and end who is late."""
        super().notify()
        now = time.monotonic()
        for conn, deadline in list(self._deadlines.items()):
            if now > deadline:
                # Only the side that we read from: an answer that is being worked on still goes out.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take new connections or not; when stopping, those that wait for us, and then none ever."""
        super().set_accept_enabled(enabled and not self._leaves())
        if enabled or self.alive:
            return
        for listener in self.sockets:
            before = -1
            while before != self.nr_conns:
                before = self.nr_conns
                self.accept(listener)
            listener.close()

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Tell of a request that never reached the application, in the application's way.

        The base would answer in HTML, and write what the client sent into the log.
        """
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        exchange = Exchange(None)
        told = problem(_CODES.get(type(exc), "bad_http"), "the request cannot be read as HTTP/1.1")
        status = HTTPStatus(int(told["status"]))
        body = json.dumps({**told, "request_id": exchange.id}) + "\n"
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-ID: {exchange.id}\r\n\r\n"
        )
        fields = {"request_id": exchange.id, "status": status.value, "code": told["code"]}
        _requests.info("", extra={"fields": fields})
        with contextlib.suppress(OSError):
            util.write_nonblock(client, (head + body).encode())
