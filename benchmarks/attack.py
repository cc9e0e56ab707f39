"""Latency and availability for a well-behaved client while a running service is under attack.

    gunicorn tests.serve.loopback:app --bind 127.0.0.1:8000          # in another terminal
    python -m benchmarks.attack [PORT] [--only NAME ...] [--seconds 10]

The service listens on 127.0.0.1. `tests.serve.loopback:app` is the service with permission to download from this
machine, which the attack `downloads` needs; `predict:app` refuses its URLs. Each attack lasts the given number of
seconds and sends a bounded number of requests. Meanwhile one regular client repeatedly requests a prediction of a small
photo, each time over a new connection.

answers      predictions requested by the regular client
median, stall   median and longest response time in ms, failures included
503, failed  share of responses with status 503; share with another error or no response
MB           peak memory of all workers together during the attack
files        most file descriptors of any worker
workers      "same" if no worker was replaced
attackers    responses to the attack's own requests, most frequent first; "cut" is a connection closed without response
"""

import argparse
import contextlib
import io
import json
import resource
import socket
import statistics
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count

import psutil
from PIL import Image

from headstand.cli import command
from headstand.errors import HeadstandError

PATIENCE = 60.0
"""Timeout of the regular client in seconds."""

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
LARGE = 26 * 2**20


class AttackError(HeadstandError):
    """Raised if nothing listens on the port."""


@dataclass
class Attack:
    """Running attack: target port, stop event, and counts of the responses to its requests."""

    port: int
    stop: threading.Event
    received: Counter[str] = field(default_factory=Counter)

    def connect(self, small: bool = False) -> socket.socket:
        """Opens a connection; `small` shrinks the receive buffer, for clients that do not read."""
        connection = socket.socket()
        if small:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def send(self, data: bytes) -> None:
        """Sends a request on a new connection and counts the status of the response."""
        status = "cut"
        with contextlib.suppress(OSError), self.connect() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
            answer = connection.recv(4096)
            if answer.startswith(b"HTTP/1."):
                status = answer[9:12].decode("latin-1")
        self.received[status] += 1

    def repeat(self, requests: list[bytes], most: int, clients: int = 8) -> None:
        """Sends the requests in turn from several clients until the attack ends, at most `most` in total."""
        numbers = count()

        def work(_: int) -> None:
            while not self.stop.is_set() and (number := next(numbers)) < most:
                self.send(requests[number % len(requests)])

        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(work, range(clients)))

    def hold(self, starts: list[bytes], drip: bytes = b"", small: bool = False) -> None:
        """Keeps one connection open per item of `starts`, after sending it; reopens those that the service closes.

        After that, `drip` is sent every 0.2 seconds.
        """

        def work(start: bytes) -> None:
            while not self.stop.is_set():
                with contextlib.suppress(OSError), self.connect(small) as connection:
                    connection.setblocking(False)
                    unsent = memoryview(start)
                    while not self.stop.wait(0.2 if drip or not unsent else 0.001):
                        with contextlib.suppress(BlockingIOError):
                            if unsent or drip:
                                sent = connection.send(unsent or drip)
                                unsent = unsent[sent:]
                            # A client that does not read (`small`) only peeks, to detect the end of the connection.
                            if connection.recv(4096, socket.MSG_PEEK if small else 0) == b"":
                                break
                            self.received["answer"] += not small
                self.received["cut"] += not self.stop.is_set()
                self.stop.wait(0.05)

        with ThreadPoolExecutor(len(starts)) as pool:
            list(pool.map(work, starts))


def urls(attack: Attack) -> None:
    """Sends 60 JSON bodies, each with a different URL of 27.9 MB."""
    for number in range(60):
        if not attack.stop.is_set():
            body = b'{"url": "http://%d.example/%b"}' % (number, b"a" * 27_900_000)
            attack.send(HEAD % (b"application/json", len(body)) + body)


def jpeg(attack: Attack) -> None:
    """Sends JPEGs of 0.92 MB that take several hundred MB to decode: CMYK with one scan per component."""
    body = scans(4)
    attack.repeat([HEAD % (b"image/jpeg", len(body)) + body], 60, clients=4)


def lengths(attack: Attack) -> None:
    """Sends invalid or huge values of Content-Length."""
    numbers = [b"9" * 400, b"1" + b"0" * 300, b"9" * 5000]
    paths = [b"/predict", b"/predict/batch", b"/healthz", b"/none"]
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n"
    attack.repeat([head % (path, number) for path in paths for number in numbers], 400)


def hosts(attack: Attack) -> None:
    """Sends HTTP/1.1 requests with a missing, invalid or repeated Host header."""
    lines = [b"", b"Host: [\r\n", b"Host:\r\n", b"Host: a b\r\n", b"Host: x\r\nHost: y\r\n"]
    attack.repeat([b"GET /healthz HTTP/1.1\r\n%b\r\n" % line for line in lines], 400)


def descriptors(attack: Attack) -> None:
    """Opens more connections than there are file descriptors: unfinished forms and idle keep-alive connections."""
    form = HEAD % (b"multipart/form-data; boundary=x", 9_000_000) + b"--x\r\n" + b"A" * 2000
    idle = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    connections: list[socket.socket] = []
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for number in range(min(2100, soft - 100)):
        if attack.stop.is_set():
            break
        with contextlib.suppress(OSError):
            connections.append(attack.connect())
            connections[-1].sendall(form if number % 2 else idle)
    attack.received["opened"] = len(connections)
    attack.stop.wait()
    for connection in connections:
        connection.close()


def readers(attack: Attack) -> None:
    """110 clients send many requests at once and never read a response."""
    attack.hold([b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 300] * 110, small=True)


def bytewise(attack: Attack) -> None:
    """64 clients send their request byte by byte."""
    attack.hold([HEAD % (b"image/jpeg", 5000)] * 64, drip=b"x")


def announced(attack: Attack) -> None:
    """12 clients announce large bodies, 64 MiB together for each worker, and send a few bytes."""
    attack.hold([HEAD % (b"image/jpeg", size) + b"x" * 100 for size in (LARGE, 6 * 2**20)] * 6)


def stalled(attack: Attack) -> None:
    """6 clients send most of a large body and stop."""
    attack.hold([HEAD % (b"image/jpeg", LARGE) + bytes(20 * 2**20)] * 6)


def header(attack: Attack) -> None:
    """Sends forms with a part header of 12 MB."""
    body = b'--x\r\nContent-Disposition: form-data; name="' + b"a" * 12_000_000 + b'"\r\n\r\n1\r\n--x--\r\n'
    attack.repeat([HEAD % (b"multipart/form-data; boundary=x", len(body)) + body], 40, clients=4)


def chunks(attack: Attack) -> None:
    """Sends bodies in chunks of one byte."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    attack.repeat([head + b"1\r\na\r\n" * 4_000_000], 8, clients=4)


def signs(attack: Attack) -> None:
    """Sends urlencoded forms of equals signs only, and of percent-encoded characters only."""
    kind = b"application/x-www-form-urlencoded"
    bodies = [b"=" * 9_000_000 + b"\0", b"image=" + b"%41" * 3_000_000]
    attack.repeat([HEAD % (kind, len(body)) + body for body in bodies], 40, clients=4)


def downloads(attack: Attack) -> None:
    """Sends URLs of a server that returns endless one-byte chunks, endless trailers, or endless `100 Continue`."""
    streams = {
        b"/chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 10_000),
        b"/trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 10_000),
        b"/continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3000),
    }

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError, KeyError), client:
            start, piece = streams[client.recv(65536).split(b" ")[1]]
            client.sendall(start)
            while not attack.stop.is_set():
                client.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(64) as pool:
        server.settimeout(0.2)

        def listen() -> None:
            while not attack.stop.is_set():
                with contextlib.suppress(TimeoutError):
                    pool.submit(serve, server.accept()[0])

        pool.submit(listen)
        port = server.getsockname()[1]
        bodies = [json.dumps({"url": f"http://127.0.0.1:{port}{path.decode()}"}).encode() for path in streams]
        attack.repeat([HEAD % (b"application/json", len(body)) + body for body in bodies], 300, clients=8)
        attack.stop.wait()


def retries(attack: Attack) -> None:
    """64 clients keep their connection and retry immediately, whatever the response."""
    body = photo()
    request = HEAD % (b"image/jpeg", len(body)) + body

    def work(_: int) -> None:
        while not attack.stop.is_set():
            with contextlib.suppress(OSError), attack.connect() as connection:
                while not attack.stop.is_set():
                    connection.sendall(request)
                    answer = connection.recv(65536)
                    attack.received[answer[9:12].decode("latin-1") or "cut"] += 1
                    if not answer:
                        break

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))


ATTACKS: dict[str, Callable[[Attack], None]] = {
    attack.__name__: attack
    for attack in (
        urls, jpeg, lengths, hosts, descriptors, readers, bytewise, announced, stalled, header, chunks, signs,
        downloads, retries,
    )
}  # fmt: skip


@dataclass
class Seen:
    """Measurements during one attack: the regular client's responses, and memory and files of the workers."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    megabytes: float = 0.0
    files: int = 0
    same_workers: bool = True
    received: Counter[str] = field(default_factory=Counter)

    def row(self) -> str:
        """Returns the measurements as a row of the table."""
        total = sum(self.statuses.values())
        refused = self.statuses[503] / total
        failed = 1 - refused - self.statuses[200] / total
        attackers = ", ".join(f"{number} x {name}" for name, number in self.received.most_common(4)) or "-"
        workers = "same" if self.same_workers else "new"
        return (
            f"{total:>8}{1000 * statistics.median(self.seconds):>8.0f}{1000 * max(self.seconds):>8.0f}{refused:>7.0%}"
            f"{failed:>8.0%}{self.megabytes:>7.0f}{self.files:>7}  {workers:<9}{attackers}"
        )


def measure(port: int, attack: Callable[[Attack], None] | None, seconds: float) -> Seen:
    """Runs an attack (or none) for a number of seconds and measures the regular client's requests meanwhile."""
    master = _listener(port)
    before = master.children()
    stop, seen = threading.Event(), Seen()
    running = Attack(port, stop)
    thread = threading.Thread(target=attack or (lambda _: None), args=(running,))
    watcher = threading.Thread(target=_watch, args=(master, stop, seen))
    for each in (watcher, thread):
        each.start()
    body = photo()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        seen.statuses[_ask(port, body)] += 1
        seen.seconds.append(time.monotonic() - started)
        time.sleep(0.02)
    stop.set()
    thread.join()
    watcher.join()
    seen.received = running.received
    seen.same_workers = master.children() == before
    return seen


def scans(components: int, width: int = 65_496, height: int = 895) -> bytes:
    """Returns a grey baseline JPEG with one scan per component, in which each block takes two bits."""
    tables = b"\xff\xdb\0\x43\0" + b"\1" * 64
    # Huffman codes: the single bit 0 means difference 0 for DC, and end of block for AC.
    tables += b"".join(b"\xff\xc4\0\x14%c\1" % kind + bytes(16) for kind in (0x00, 0x10))
    frame = b"".join(struct.pack("BBB", number, 0x11, 0) for number in range(1, components + 1))
    data = b"\xff\xd8" + tables + struct.pack(">HHBHHB", 0xFFC0, 8 + len(frame), 8, height, width, components) + frame
    blocks = -(-width // 8) * -(-height // 8)
    for number in range(1, components + 1):
        data += b"\xff\xda\0\x08\1" + struct.pack("BBBBB", number, 0, 0, 63, 0) + bytes(blocks // 4 + 1)
    return data + b"\xff\xd9"


def photo() -> bytes:
    """Returns a small JPEG photo, the request body of the regular client."""
    file = io.BytesIO()
    Image.effect_noise((160, 160), 60).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", nargs="?", type=int, default=8000)
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(argv)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)) if hard > 0 else 4096, hard))
    print(
        f"{'':<12}{'answers':>8}{'median':>8}{'stall':>8}{'503':>7}{'failed':>8}{'MB':>7}{'files':>7}"
        "  workers  attackers"
    )
    for name in ["none", *options.only]:
        print(f"{name:<12}{measure(options.port, ATTACKS.get(name), options.seconds).row()}", flush=True)


def _ask(port: int, body: bytes) -> int:
    """Returns the HTTP status of a prediction request, or 0 without a response."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def _listener(port: int) -> psutil.Process:
    """Returns the gunicorn master process that listens on this port."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            listening = any(
                item.laddr.port == port and item.status == psutil.CONN_LISTEN for item in process.net_connections("tcp")
            )
            if listening and process.children():
                return process
    raise AttackError(f"no gunicorn of this user listens on port {port} of this machine")


def _watch(master: psutil.Process, stop: threading.Event, seen: Seen) -> None:
    """Records peak memory and file descriptors of the workers until the attack ends."""
    while not stop.wait(0.1):
        with contextlib.suppress(psutil.Error):
            workers = master.children()
            seen.megabytes = max(seen.megabytes, sum(each.memory_info().rss for each in workers) / 1e6)
            seen.files = max(seen.files, *(each.num_fds() for each in workers))


if __name__ == "__main__":
    command.run(main)
