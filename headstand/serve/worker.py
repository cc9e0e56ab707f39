"""gunicorn worker with an event loop for network I/O and a thread pool for requests, so slow clients occupy no thread.

The event loop receives requests and sends responses of all connections without blocking. A request is given to a thread
of the pool once it has arrived completely; the thread returns a complete response. The worker extends only gunicorn's
documented base class and reuses its parser and its WSGI response.
"""

import contextlib
import enum
import errno
import os
import selectors
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http import HTTPStatus
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidChunkSize, LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers import base

from headstand.serve import capacity, service_metrics
from headstand.serve.api import FAULT, Response
from headstand.serve.content import MAX_BODY
from headstand.serve.framing import BodyTooLargeError, Framing

RECEIVE_SECONDS = 30.0
"""Time limit for receiving a request's headers and body, in seconds from its first byte."""

SEND_SECONDS = 30.0
"""Time limit for a client to read a response, in seconds."""

LINGER_SECONDS = 2.0
"""Seconds for which a client's bytes are discarded after the last response of a connection.

Closing at once would reset the connection and could discard the response (RFC 9112, 9.6). When the worker stops, idle
connections stay open for the same time.
"""

PAUSE_SECONDS = 0.1
"""Seconds after a 503 response before the next request of the same connection is read.

Otherwise clients that retry at once would use the processor time of the others.
"""

FREE_BYTES = 64 * 1024
"""Bytes of each connection that do not count towards the worker's memory limit: small requests are never refused."""

SEND_BUFFER = 128 * 1024
"""Size of a socket's send buffer in bytes; the system's default limit is several megabytes per connection."""

RECEIVE_BYTES = 64 * 1024
"""Maximum number of bytes that are received from a connection at a time."""

_MALFORMED = ("bad_http", "the request is not valid HTTP/1.1")
_INCOMPLETE = ("bad_request", "the body is incomplete, arrived too slowly or has an invalid chunk")
_ERRORS = {
    LimitRequestLine: ("uri_too_long", "the path and query of the request are too long"),
    LimitRequestHeaders: ("headers_too_large", "the headers of the request are too large or too many"),
    BodyTooLargeError: (
        "request_entity_too_large",
        f"the body has more than {MAX_BODY:,} bytes, the most that is accepted",
    ),
    InvalidChunkSize: _INCOMPLETE,
}
_OVERLOADED = (
    "overloaded",
    f"the service has reached its memory limit for request bodies; retry in {capacity.RETRY_AFTER} s",
)


class ConnectionState(enum.Enum):
    """State of a connection."""

    IDLE = "waits for the first byte of the next request"
    RECEIVING = "a request arrives"
    WORKING = "a thread works on its request"
    SENDING = "a response waits for the client to read it"
    PAUSED = "waits after a 503 response"
    CLOSING = "has received its last response; further bytes are discarded"


_IDLE_STATES = (ConnectionState.IDLE, ConnectionState.PAUSED, ConnectionState.CLOSING)
"""States of connections without a request or response in progress."""

_TRANSFER_STATES = (ConnectionState.RECEIVING, ConnectionState.SENDING)


class ClientConnection:
    """Connection of one client; in the state WORKING a thread uses it, in all others only the event loop.

    Attributes:
        since: time of the last change of state, by `time.monotonic`.
        deadline: time at which the connection is ended unless its state changes.
        unsent: the rest of the response.
        keep: whether the connection may be used for another request.
        refused: whether the last response had status 503.
        held: bytes that count towards the worker's memory limit.
    """

    __slots__ = (
        "client", "deadline", "framing", "held", "keep", "refused", "server", "since", "sock", "state", "unsent",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, client: Any, server: Any, framing: Framing) -> None:
        sock.setblocking(False)
        self.sock, self.client, self.server, self.framing = sock, client, server, framing
        self.state = ConnectionState.IDLE
        self.since = self.deadline = 0.0
        self.unsent = memoryview(b"")
        self.keep = self.refused = False
        self.held = 0

    def fileno(self) -> int:
        """Returns the socket's file descriptor, for the selector."""
        return self.sock.fileno()


class _Output(list[bytes]):
    """Substitute for a socket that collects the bytes that gunicorn's `Response` sends."""

    def sendall(self, data: bytes) -> None:
        self.append(bytes(data))

    send = sendall


class Worker(base.Worker):
    """gunicorn worker: event loop, thread pool, and limits on connections, bytes and time."""

    wsgi: Any
    cfg: Any
    alive: bool

    def init_process(self) -> None:
        """Creates the selector and the thread pool, then runs; gunicorn calls it in the worker's process."""
        self._selector = selectors.DefaultSelector()
        self._pool = ThreadPoolExecutor(self.cfg.threads)
        self._finished: deque[ClientConnection] = deque()
        self._connections: dict[ClientConnection, None] = {}
        self._paused: deque[tuple[float, ClientConnection]] = deque()
        self._held_limit = capacity.chosen().body_bytes
        self._held = 0
        self._listening = False
        self._full_until = self._next_check = 0.0
        super().init_process()

    def load_wsgi(self) -> None:
        """Loads the application and runs its model once."""
        if service_metrics.SHARED:
            service_metrics.SHARED.use_row(self.age)
        super().load_wsgi()
        # After a fork the first run copies the memory pages that it writes to; no client should wait for that.
        self.wsgi.extensions["headstand"].warm()

    def handle_quit(self, sig: Any, frame: Any) -> None:
        """Stops the worker at once; gunicorn's handler of SIGQUIT and SIGINT."""
        self._pool.shutdown(wait=False)
        super().handle_quit(sig, frame)

    def run(self) -> None:
        """Serves until the master stops the worker, then finishes the accepted connections."""
        self._selector.register(self.PIPE[0], selectors.EVENT_READ)
        stop = None
        while self.ppid == os.getppid():
            self.notify()
            now = time.monotonic()
            if not self.alive and stop is None:
                stop = now + self.cfg.graceful_timeout
                self.wsgi.extensions["headstand.api"].draining = True
                self._stop_listening(now)
            if stop is not None and (now > stop or not self._connections):
                break
            self._enforce_deadlines(now)
            self._update_listening(now)
            self._run_once(now)
        self._pool.shutdown(wait=False)

    def _run_once(self, now: float) -> None:
        """Waits for events and handles them; one iteration of the event loop."""
        timeout = 1.0
        if self._paused:
            timeout = min(timeout, max(self._paused[0][0] - now, 0.0))
        if self.alive and not self._listening:
            timeout = min(timeout, max(self._full_until - now, 0.0))
        for key, _ in self._selector.select(timeout):
            if isinstance(key.fileobj, ClientConnection):
                # An earlier event of this iteration may have closed the connection.
                if key.fileobj in self._connections:
                    self._guarded(self._transfer, key.fileobj)
            elif isinstance(key.fileobj, int):
                with contextlib.suppress(BlockingIOError):
                    os.read(self.PIPE[0], 4096)
            else:
                self._accept(key.fileobj)
        while self._finished:
            self._guarded(self._finish, self._finished.popleft())
        while self._paused and self._paused[0][0] <= time.monotonic():
            _, connection = self._paused.popleft()
            if connection in self._connections:
                self._guarded(self._await_request, connection)

    def _guarded(self, action: Any, connection: ClientConnection, *arguments: Any) -> None:
        """Calls an action for a connection and drops the connection if the action fails."""
        try:
            action(connection, *arguments)
        except OSError:
            self._drop(connection)
        except Exception:
            self.log.exception("Error handling a connection")
            self._drop(connection)

    # New connections

    def _update_listening(self, now: float) -> None:
        """Registers the listening sockets, or unregisters them for a moment if the worker is full."""
        wanted = self.alive and now >= self._full_until
        if wanted != self._listening:
            for listener in self.sockets:
                if wanted:
                    listener.setblocking(False)
                    self._selector.register(listener, selectors.EVENT_READ)
                else:
                    self._selector.unregister(listener)
            self._listening = wanted

    def _accept(self, listener: Any) -> bool:
        """Accepts a waiting connection, if there is one; returns whether one was accepted."""
        now = time.monotonic()
        full = len(self._connections) >= self.cfg.worker_connections
        if full and all(connection.state is ConnectionState.WORKING for connection in self._connections):
            self._full_until = now + PAUSE_SECONDS
            return False
        try:
            sock, client = listener.accept()
            # Some systems refuse this for a connection that the client has reset already.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._evict()
                self._full_until = now + PAUSE_SECONDS
            return False
        if full:
            self._evict()  # only now: another worker may have been faster to accept
        connection = ClientConnection(sock, client, listener.getsockname(), Framing(self.cfg, client))
        self._connections[connection] = None
        self._set_state(connection, ConnectionState.RECEIVING, now, RECEIVE_SECONDS)
        self._selector.register(connection, selectors.EVENT_READ)
        return True

    def _evict(self) -> None:
        """Drops the connection that has been idle longest, else the one that has been in transfer longest."""
        for states in (_IDLE_STATES, _TRANSFER_STATES):
            found = [connection for connection in self._connections if connection.state in states]
            if found:
                self._drop(min(found, key=lambda connection: connection.since))
                return

    def _stop_listening(self, now: float) -> None:
        """Accepts the connections in the system's queue, closes the listening sockets, and soon idle connections."""
        for listener in self.sockets:
            if self._listening:
                self._selector.unregister(listener)
            listener.setblocking(False)
            while self._accept(listener):
                pass
            listener.close()
        self._listening = False
        for connection in self._connections:
            if connection.state is ConnectionState.IDLE:
                # A client may be sending its next request at this moment.
                connection.deadline = min(connection.deadline, now + LINGER_SECONDS)

    # Requests and responses

    def _transfer(self, connection: ClientConnection) -> None:
        """Receives or sends as many bytes as possible without blocking."""
        if connection.state is ConnectionState.SENDING:
            sent = connection.sock.send(connection.unsent)
            connection.unsent = connection.unsent[sent:]
            if not connection.unsent:
                self._after_response(connection)
            return
        try:
            piece = connection.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if connection.state is ConnectionState.CLOSING:
            if not piece:
                self._drop(connection)
        elif not piece:
            self._abort(connection)
        else:
            if connection.state is ConnectionState.IDLE:
                self._set_state(connection, ConnectionState.RECEIVING, time.monotonic(), RECEIVE_SECONDS)
            connection.framing.feed(piece)
            self._start_request(connection)

    def _start_request(self, connection: ClientConnection) -> None:
        """Gives the next request to a thread if it has arrived completely."""
        continued = connection.framing.has_head
        try:
            request = connection.framing.take()
        except ParseException as error:
            self._refuse(connection, *_ERRORS.get(type(error), _MALFORMED))
            return
        if request:
            self._selector.unregister(connection)
            self._set_state(connection, ConnectionState.WORKING, time.monotonic(), float("inf"))
            self._count_bytes(connection, len(request.body.getbuffer()))
            self._pool.submit(self._work, connection, request)
            return
        if not continued and connection.framing.expects_continue:
            connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._count_bytes(connection, connection.framing.size)
        self._enforce_byte_limit()

    def _work(self, connection: ClientConnection, request: Any) -> None:
        """Runs the application on a request and sends what the socket accepts at once; called in a pool thread."""
        output = _Output()
        connection.keep = connection.refused = False
        try:
            self._respond(connection, request, output)
        except Exception:
            self.log.exception("Error handling request")
            output[:] = [_encoded(self.wsgi.extensions["headstand.api"].refuse("internal_error", FAULT))]
        data = memoryview(b"".join(output))
        try:
            connection.unsent = data[connection.sock.send(data) :]
        except BlockingIOError:
            connection.unsent = data
        except OSError:
            connection.unsent, connection.keep = data[:0], False
        self._finished.append(connection)
        with contextlib.suppress(BlockingIOError):
            os.write(self.PIPE[1], b"\0")

    def _respond(self, connection: ClientConnection, request: Any, output: _Output) -> None:
        """Writes the response to `output`, and sets `keep` and `refused` of the connection."""
        started = datetime.now()
        response, environ = wsgi.create(request, output, connection.client, connection.server, self.cfg)
        output.clear()  # remove `100 Continue`, which the event loop has already sent
        environ["wsgi.multithread"] = True
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        if not self.alive or not self.cfg.keepalive:
            response.force_close()
        parts = self.wsgi(environ, response.start_response)
        try:
            for part in parts:
                response.write(part)
            response.close()
        finally:
            parts.close()
        self.log.access(response, request, environ, datetime.now() - started)
        connection.keep, connection.refused = not response.should_close(), response.status_code == 503

    def _finish(self, connection: ClientConnection) -> None:
        """Ends the state WORKING: the event loop sends the rest of the response."""
        if not connection.unsent:
            self._after_response(connection)
            return
        self._set_state(connection, ConnectionState.SENDING, time.monotonic(), SEND_SECONDS)
        self._selector.register(connection, selectors.EVENT_WRITE)
        self._count_bytes(connection, len(connection.unsent))
        self._enforce_byte_limit()

    def _after_response(self, connection: ClientConnection) -> None:
        """Closes a connection whose response has been sent, or waits for its next request, after a 503 for longer."""
        if connection.state is ConnectionState.SENDING:
            self._selector.unregister(connection)
        self._count_bytes(connection, connection.framing.size)
        if not connection.keep:
            self._close(connection)
        elif connection.refused:
            self._set_state(connection, ConnectionState.PAUSED, time.monotonic(), float("inf"))
            self._paused.append((time.monotonic() + PAUSE_SECONDS, connection))
        else:
            self._await_request(connection)

    def _await_request(self, connection: ClientConnection) -> None:
        now = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ)
        if connection.framing.size:  # a pipelined request
            self._set_state(connection, ConnectionState.RECEIVING, now, RECEIVE_SECONDS)
            self._start_request(connection)
        else:
            self._set_state(connection, ConnectionState.IDLE, now, self.cfg.keepalive if self.alive else LINGER_SECONDS)

    def _abort(self, connection: ClientConnection) -> None:
        """Ends a connection that the client has closed or that has exceeded its time limit."""
        if connection.state is ConnectionState.RECEIVING and connection.framing.has_head:
            self._refuse(connection, *_INCOMPLETE)
        else:
            self._drop(connection)  # no request to answer

    def _refuse(self, connection: ClientConnection, code: str, detail: str) -> None:
        """Answers a request that does not reach the application with a problem, and closes the connection."""
        connection.sock.send(_encoded(self.wsgi.extensions["headstand.api"].refuse(code, detail)))
        self._count_bytes(connection, 0)
        self._selector.unregister(connection)
        self._close(connection)

    def _close(self, connection: ClientConnection) -> None:
        """Closes the sending side and discards what still arrives until the client closes, too."""
        connection.sock.shutdown(socket.SHUT_WR)
        connection.framing = Framing(self.cfg, connection.client)
        self._set_state(connection, ConnectionState.CLOSING, time.monotonic(), LINGER_SECONDS)
        self._selector.register(connection, selectors.EVENT_READ)

    def _drop(self, connection: ClientConnection) -> None:
        """Closes a connection at once."""
        if connection in self._connections:
            self._count_bytes(connection, 0)
            del self._connections[connection]
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(connection)
            connection.sock.close()

    # Limits

    def _set_state(self, connection: ClientConnection, state: ConnectionState, now: float, seconds: float) -> None:
        connection.state, connection.since, connection.deadline = state, now, now + seconds

    def _count_bytes(self, connection: ClientConnection, size: int) -> None:
        """Updates the count of bytes that a connection keeps in memory, beyond `FREE_BYTES`."""
        held = max(0, size - FREE_BYTES)
        self._held += held - connection.held
        connection.held = held

    def _enforce_byte_limit(self) -> None:
        """Ends the oldest request or response in transfer, repeatedly, while the memory limit is exceeded."""
        while self._held > self._held_limit:
            holders = [connection for connection in self._connections if connection.held]
            in_transfer = [each for each in holders if each.state in _TRANSFER_STATES]
            # A single body may exceed the limit if no other connection holds memory.
            if len(holders) < 2 or not in_transfer:
                return
            oldest = min(in_transfer, key=lambda connection: connection.since)
            if oldest.state is ConnectionState.RECEIVING:
                self._guarded(self._refuse, oldest, *_OVERLOADED)
            else:
                self._drop(oldest)

    def _enforce_deadlines(self, now: float) -> None:
        """Ends connections that have exceeded their time limit, about once per second."""
        if now < self._next_check:
            return
        self._next_check = now + min(1.0, RECEIVE_SECONDS, SEND_SECONDS)
        for connection in [each for each in self._connections if each.deadline < now]:
            self._guarded(self._abort, connection)


def _encoded(response: Response) -> bytes:
    """Returns a response as bytes of HTTP/1.1, with the header that closes the connection."""
    status = HTTPStatus(response.status)
    headers = {**response.headers, "Connection": "close", "Content-Length": str(len(response.body))}
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body
