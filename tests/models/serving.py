"""A real HTTP server on this machine whose answers a test decides, one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Site:
    """What is served at each path. ``faults`` are used up, one an answer, before answers are whole."""

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"one"'
    ranges: bool = True
    heeds: bool = True
    """Whether it looks at If-Range."""
    length: bool = True
    kind: str = "application/octet-stream"
    redirects: dict[str, str] = field(default_factory=dict)
    faults: list[Callable[[BaseHTTPRequestHandler, bytes], bool]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: str = ""
    more: dict[str, str] = field(default_factory=dict)
    """Other headers of every answer."""


def breaks_off(after: int) -> Callable[[BaseHTTPRequestHandler, bytes], bool]:
    """The connection ends after so many bytes of the body."""

    def fault(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        handler.wfile.write(body[:after])
        return True

    return fault


def stalls(seconds: float) -> Callable[[BaseHTTPRequestHandler, bytes], bool]:
    """Half of the body, then nothing for a while."""

    def fault(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        time.sleep(seconds)
        return True

    return fault


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = site.files.get(self.path.partition("?")[0])
        if body is None:
            self.send_error(404)
            return
        begin = self._begin(len(body))
        if begin is None:
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        if site.length:
            self.send_header("Content-Length", str(len(body) - begin))
        self.send_header("Content-Type", site.kind)
        if site.etag:
            self.send_header("ETag", site.etag)
        for name, value in site.more.items():
            self.send_header(name, value)
        self.end_headers()
        if site.faults and site.faults.pop(0)(self, body[begin:]):
            return
        self.wfile.write(body[begin:])

    def _begin(self, length: int) -> int | None:
        """Where the answer begins; None when the range was refused."""
        asked = self.headers.get("Range")
        if not asked or not self.site.ranges:
            return 0
        if self.site.heeds and self.headers.get("If-Range", self.site.etag) != self.site.etag:
            return 0
        begin = int(asked.removeprefix("bytes=").rstrip("-"))
        if begin < length:
            return begin
        self.send_error(416)
        return None

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def left_in(folder: Path) -> list[str]:
    """What lies in a folder, but for its lock."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")
