"""One file over HTTP, whole or not at all.

What has arrived waits in ``.FILE.part`` beside the target and is gone on with, as long as the server says that the
file is still the same one (its ETag or date, noted in ``.FILE.part.json``). Only a file of the expected size and hash
gets the target's name. Nothing of a server's answer decides about a path. Proxies come from the environment.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from vidact import __version__
from vidact.errors import ModelError
from vidact.models.weights import file_hash

TRIES = 5
TIMEOUT = 30.0
"""Seconds without a single byte after which a connection counts as lost."""
LARGEST = 40 << 30
"""No published file of weights comes near this size."""
_BLOCK = 1 << 20
_LOCAL = ("localhost", "127.0.0.1", "::1")
_PASSING = (408, 425, 429, 500, 502, 503, 504)

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and those there will be (0: not said)."""
Tell = Callable[[str], None]
"""Called with what is waited for, in words, before the first byte of a connection comes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to get: ``urls`` in the order to try, where it goes, and what is known of it (empty and 0: nothing).

    ``sha256`` may be its first digits alone.
    """

    urls: Sequence[str]
    target: Path
    sha256: str = ""
    size: int = 0
    plain: Sequence[str] = ()
    """Beginnings of addresses the user named, which may be http."""
    check: Callable[[Path], None] = lambda file: None
    """ModelError for a file that cannot be what is wanted; it is not yet called ``target``."""


class _Broken(Exception):
    """A transfer that ended early and may be gone on with."""


class _Refused(Exception):
    """An address that does not give the file; another one may."""


def download(
    wanted: Wanted,
    progress: Progress = lambda here, total: None,
    tell: Tell = lambda what: None,
    *,
    wait: float = 1.0,
) -> Path:
    """Get the file, or leave it if it is there by now; ``wait`` seconds before the second try, then twice as long.

    Processes that want the same file wait for the one that began. Raises ModelError.
    """
    target = wanted.target
    try:
        with _alone(target.parent, tell):
            if target.exists():
                return target
            told = []
            for url in wanted.urls:
                try:
                    return _from(url, wanted, progress, tell, wait)
                except _Refused as refused:
                    told.append(f"{_shown(url)}: {refused}")
    except OSError as error:
        raise ModelError(
            f"cannot write {str(target)!r}: {error.strerror or error}",
            hint="free some space, or choose another folder with VIDACT_CACHE",
        ) from error
    raise ModelError(
        "the weights could not be downloaded: " + "; ".join(told),
        hint=f"try again later (what has arrived is kept), or get the file by hand and put it at {str(target)!r}",
    )


@contextlib.contextmanager
def _alone(folder: Path, tell: Tell) -> Iterator[None]:
    """Make the folder and hold its lock, which the kernel drops when its holder dies. A folder with nothing else in it
    goes with the lock: nothing came."""
    lock = folder / ".lock"
    handle = _locked(lock, tell)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if os.listdir(folder) == [lock.name]:
                lock.unlink()
                folder.rmdir()
        os.close(handle)


def _locked(path: Path, tell: Tell) -> int:
    """Make the folder and the lock file, and lock it; anew when its last holder removed it meanwhile."""
    import fcntl

    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            held = False
            try:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    tell("waiting for another process that downloads it")
                    fcntl.flock(handle, fcntl.LOCK_EX)
                held = os.path.samestat(os.fstat(handle), path.stat())
            finally:
                if not held:
                    os.close(handle)
            if held:
                return handle


def _from(url: str, wanted: Wanted, progress: Progress, tell: Tell, wait: float) -> Path:
    part = _Part(wanted.target)
    try:
        return _whole(url, wanted, part, progress, tell, wait)
    except ValueError as error:  # perhaps where a server sent us on to
        raise _Refused(f"no address ({error})") from error
    finally:
        if not part.path.exists():
            part.drop()  # a note on nothing


def _whole(url: str, wanted: Wanted, part: _Part, progress: Progress, tell: Tell, wait: float) -> Path:
    way, last = _way(url), ""
    tell(f"connecting to {way}")
    for attempt in range(TRIES):
        if attempt:
            pause = wait * 2 ** (attempt - 1)
            tell(f"try {attempt + 1} of {TRIES} in {pause:.0f} s ({last}; {way})")
            time.sleep(pause)
        try:
            _receive(url, wanted, part, progress)
            break
        except _Broken as broken:
            last = str(broken)
    else:
        raise _Refused(f"given up after {TRIES} tries to reach {way} ({last})")
    found = file_hash(part.path)
    if not found.startswith(wanted.sha256):
        part.drop()
        raise _Refused(f"its SHA-256 is {found}, expected {wanted.sha256}; it was thrown away")
    try:
        wanted.check(part.path)
    except ModelError as error:
        part.drop()
        raise _Refused("what came is no file of weights; it was thrown away") from error
    part.finish({"url": _shown(url), "sha256": found, "size": part.length(), **part.validator()})
    return wanted.target


class _Part:
    """What has arrived of a file so far, and the server's mark of which file that was."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")

    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self) -> dict[str, str]:
        """``etag`` or ``date`` of the file that is arriving, with its ``from``; empty: not known."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._note.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def begin(self, marks: dict[str, str]) -> None:
        """Throw away what is here: another file, or one that cannot be gone on with, is arriving."""
        self.drop()
        self._note.write_text(json.dumps(marks), encoding="utf-8")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self, facts: dict[str, Any]) -> None:
        """Give the whole file its name, durably, with a note of where it came from."""
        note = self.target.with_name(self.target.name + ".json")
        facts.pop("from", None)
        note.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        os.replace(self.path, self.target)
        self._note.unlink(missing_ok=True)
        handle = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _receive(url: str, wanted: Wanted, part: _Part, progress: Progress) -> None:
    """One connection: all that is missing, or _Broken, or _Refused."""
    here, marks = part.length(), part.validator()
    validator = marks.get("etag") or marks.get("date") or ""
    if not validator or marks.get("from") != _shown(url):
        here = 0
    extra = {"Range": f"bytes={here}-", "If-Range": validator} if here else {}
    try:
        with _open(url, wanted, extra) as answer:
            here, total = _agreed(answer, url, here, wanted, part)
            _copy(answer, wanted, part, here, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is here is not the beginning of what the server has
            part.drop()
            raise _Broken("the file has changed") from error
        if error.code in _PASSING:
            raise _Broken(f"HTTP {error.code}") from error
        raise _Refused(f"HTTP {error.code} {str(error.reason).splitlines()[0] if error.reason else ''}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.gaierror | ssl.SSLCertVerificationError):
            raise _Refused(f"no connection ({error.reason})") from error
        raise _Broken(getattr(error.reason, "strerror", None) or str(error.reason)) from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from error


def _agreed(answer: Any, url: str, here: int, wanted: Wanted, part: _Part) -> tuple[int, int]:
    """Where the body begins and how long the whole file is (0: not said)."""
    kind = answer.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise _Refused("a web page came instead of a file (a login, a form or a notice)")
    packed = answer.headers.get("Content-Encoding", "identity")
    if packed.strip().lower() not in ("identity", ""):
        raise _Refused(f"it came packed ({packed}), which was not asked for")
    told = answer.headers.get("Content-Length") or ""
    length = int(told) if re.fullmatch(r"[0-9]{1,18}", told) else 0
    etag = answer.headers.get("ETag", "")
    if answer.status == 206:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        same = etag.removeprefix("W/")
        other = etag and part.validator().get("etag", same) != same  # a server that does not look at If-Range
        if said is None or int(said[1]) != here or other:
            part.drop()
            raise _Broken("the server sent another part than asked for")
        total = here + length if said[2] == "*" else int(said[2])
    else:
        here, total = 0, length
        strong = {"etag": etag} if etag and not etag.startswith("W/") else {}
        date = {"date": answer.headers["Last-Modified"]} if "Last-Modified" in answer.headers else {}
        part.begin({"from": _shown(url), **(strong or date)})
    if wanted.size and total and total != wanted.size:
        raise _Refused(f"it has {total} bytes, expected {wanted.size}")
    if total > LARGEST:
        raise _Refused(f"it has {total} bytes, more than any file of weights")
    free = shutil.disk_usage(part.target.parent).free
    if total - here > free:
        raise ModelError(
            f"{part.target.name} needs {(total - here) / 1e6:.0f} MB, and {str(part.target.parent)!r} has "
            f"{free / 1e6:.0f} MB free",
            hint="free some space, or choose another folder with VIDACT_CACHE",
        )
    return here, total


def _copy(answer: Any, wanted: Wanted, part: _Part, here: int, total: int, progress: Progress) -> None:
    most = total or wanted.size or LARGEST
    with open(part.path, "ab") as file:
        try:
            while block := _next(answer):
                if not here and _is_page(block):
                    part.drop()
                    raise _Refused("a web page came instead of a file (a login, a form or a notice)")
                here += len(block)
                if here > most:
                    part.drop()
                    raise _Refused(f"it does not end after {most} bytes")
                file.write(block)
                progress(here, total)
        finally:
            _flush(file)
    if here < (total or wanted.size):
        raise _Broken(f"{here} of {total or wanted.size} bytes arrived")


def _next(answer: Any) -> bytes:
    """What has arrived. A network that fails is no disk that does: both are OSErrors."""
    try:
        block: bytes = answer.read1(_BLOCK)
        return block
    except OSError as error:
        raise _Broken(str(error) or type(error).__name__) from error


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _is_page(block: bytes) -> bool:
    return block[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))


def _open(url: str, wanted: Wanted, extra: dict[str, str]) -> Any:
    parts = urlsplit(url)
    _check_scheme(url, wanted.plain)
    headers = {"User-Agent": f"vidact/{__version__}", "Accept-Encoding": "identity", **extra}
    request = urllib.request.Request(_bare(url), headers=headers)
    if parts.username is not None:
        name = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # Unredirected: the next host does not get to see it.
        request.add_unredirected_header("Authorization", "Basic " + b64encode(name.encode()).decode())
    return urllib.request.build_opener(_Redirects(wanted.plain)).open(request, timeout=TIMEOUT)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to https, and to what the user named."""

    def __init__(self, plain: Sequence[str]) -> None:
        self._plain = plain

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_scheme(newurl, self._plain)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str, plain: Sequence[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
        return
    if parts.scheme == "http" and any(_bare(url).startswith(_bare(start).rstrip("/") + "/") for start in plain):
        return
    raise _Refused(f"{_shown(url)} is not https")


def _way(url: str) -> str:
    """The host, and the proxy on the way to it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(parts.scheme)
    return f"{host} through the proxy {_bare(proxy).partition('//')[2].rstrip('/') or proxy}" if proxy else host


def _bare(url: str) -> str:
    """The address without the name and password in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _shown(url: str) -> str:
    """The address as it may be told: without password, and without a query, which may hold a signature."""
    try:
        return urlunsplit(urlsplit(_bare(url))._replace(query="", fragment=""))
    except ValueError:  # none at all
        return url.rpartition("@")[2].partition("?")[0]
