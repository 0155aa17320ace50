"""Downloads from a real server that breaks off, stalls, redirects, changes its mind and serves pages."""

from __future__ import annotations

import errno
import hashlib
import http.client
import multiprocessing
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from models.serving import Site, breaks_off, left_in, serving, stalls

from vidact.errors import ModelError
from vidact.models import download as module
from vidact.models.download import Wanted, download

BODY = random.Random(1).randbytes(3 << 20)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(Site({"/x.pth": BODY})) as site:
        yield site


def wanted(site: Site, folder: Path, path: str = "/x.pth", **facts: Any) -> Wanted:
    return Wanted([site.address + path], folder / "set" / "x.pth", **facts)


def get(one: Wanted) -> Path:
    return download(one, wait=0.01)


def test_a_file_arrives_whole_with_a_note(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    file = download(wanted(site, tmp_path, sha256=SHA256, size=len(BODY)), lambda *both: seen.append(both))
    assert file.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert left_in(file.parent) == ["x.pth", "x.pth.json"]
    assert SHA256 in (file.parent / "x.pth.json").read_text()


def test_a_download_that_gets_nothing_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="HTTP 404"):
        get(wanted(site, tmp_path, "/none.pth"))
    with pytest.raises(ModelError, match="expected 5"):
        get(wanted(site, tmp_path, size=5))
    assert list(tmp_path.iterdir()) == []
    assert get(wanted(site, tmp_path)).read_bytes() == BODY


def test_a_broken_transfer_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.faults += [breaks_off(1_000_000), breaks_off(500_000)]
    assert get(wanted(site, tmp_path, sha256=SHA256)).read_bytes() == BODY
    ranges = [asked.get("range") for _, asked in site.asked]
    assert ranges == [None, "bytes=1000000-", "bytes=1500000-"]
    assert site.asked[1][1]["if-range"] == '"one"'


def test_a_later_run_goes_on_where_the_last_one_gave_up(site: Site, tmp_path: Path) -> None:
    one = wanted(site, tmp_path)
    site.faults += [breaks_off(100_000 if number == 0 else 0) for number in range(module.TRIES)]
    with pytest.raises(ModelError, match=f"given up after {module.TRIES} tries") as caught:
        get(one)
    assert str(one.target) in caught.value.hint
    assert not one.target.exists()
    site.asked.clear()
    assert get(one).read_bytes() == BODY
    assert site.asked[0][1]["range"] == "bytes=100000-"


def test_what_is_waited_for_is_told(site: Site, tmp_path: Path) -> None:
    told: list[str] = []
    site.faults += [breaks_off(1_000_000)]
    download(wanted(site, tmp_path), tell=told.append, wait=0.01)
    assert told == [
        "connecting to 127.0.0.1",
        f"try 2 of {module.TRIES} in 0 s (1000000 of {len(BODY)} bytes arrived; 127.0.0.1)",
    ]


def test_the_way_to_a_host_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://me:secret@10.0.0.1:3128/")
    assert module._way("https://example.org/x.pth") == "example.org through the proxy 10.0.0.1:3128"
    monkeypatch.setenv("no_proxy", "example.org")
    assert module._way("https://example.org/x.pth") == "example.org"


def test_a_server_without_ranges_begins_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.faults += [breaks_off(1_000_000)]
    assert get(wanted(site, tmp_path, sha256=SHA256)).read_bytes() == BODY


def test_without_a_mark_of_the_file_nothing_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.etag = ""
    site.faults += [breaks_off(1_000_000)]
    assert get(wanted(site, tmp_path)).read_bytes() == BODY
    assert all("range" not in asked for _, asked in site.asked)


def test_a_file_that_changed_between_two_parts_is_taken_anew(site: Site, tmp_path: Path) -> None:
    def changes(handler: Any, body: bytes) -> bool:
        breaks_off(1_000_000)(handler, body)
        site.files["/x.pth"], site.etag = BODY[::-1], '"two"'
        return True

    site.faults += [changes]
    assert get(wanted(site, tmp_path)).read_bytes() == BODY[::-1]


def test_a_server_that_goes_on_with_another_file_though_it_was_told_which(site: Site, tmp_path: Path) -> None:
    def changes(handler: Any, body: bytes) -> bool:
        breaks_off(1_000_000)(handler, body)
        site.files["/x.pth"], site.etag = BODY[::-1], '"two"'
        return True

    site.faults += [changes]
    site.heeds = False
    assert get(wanted(site, tmp_path)).read_bytes() == BODY[::-1]


def test_what_is_packed_is_not_kept_as_weights(site: Site, tmp_path: Path) -> None:
    site.more = {"Content-Encoding": "gzip"}
    with pytest.raises(ModelError, match="came packed"):
        get(wanted(site, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_none(site: Site, tmp_path: Path) -> None:
    site.length, site.more = False, {"Content-Length": "many"}
    assert get(wanted(site, tmp_path)).read_bytes() == BODY


def test_an_address_that_is_none_leaves_the_next_one_its_turn(site: Site, tmp_path: Path) -> None:
    one = wanted(site, tmp_path)
    site.redirects["/away"] = "http://[::1/x"
    bad = ["http://[::1/x", site.address + "/away"]
    assert get(Wanted([*bad, *one.urls], one.target)).read_bytes() == BODY
    with pytest.raises(ModelError, match=r"no address .*; .*no address"):
        get(Wanted(bad, tmp_path / "other" / "x.pth"))


def test_a_network_that_fails_is_not_taken_for_the_disk(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, failed = http.client.HTTPResponse.read1, list[int]()

    def fails_once(answer: Any, amount: int = -1) -> bytes:
        if len(failed) < 1:
            failed.append(1)
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        return whole(answer, amount)

    monkeypatch.setattr(http.client.HTTPResponse, "read1", fails_once)
    assert get(wanted(site, tmp_path)).read_bytes() == BODY


def test_more_on_disk_than_the_server_has(site: Site, tmp_path: Path) -> None:
    one = wanted(site, tmp_path)
    site.faults += [breaks_off(2_000_000)] + [breaks_off(0)] * (module.TRIES - 1)
    with pytest.raises(ModelError):
        get(one)
    site.files["/x.pth"] = BODY[:1000]
    assert get(one).read_bytes() == BODY[:1000]


@pytest.mark.parametrize("digits", [SHA256[:8], SHA256[1:9]])
def test_the_digits_in_a_name_are_compared(site: Site, tmp_path: Path, digits: str) -> None:
    one = wanted(site, tmp_path, sha256=digits)
    if SHA256.startswith(digits):
        assert get(one).read_bytes() == BODY
        return
    with pytest.raises(ModelError, match=f"expected {digits}"):
        get(one)


def test_a_wrong_hash_leaves_nothing(site: Site, tmp_path: Path) -> None:
    one = wanted(site, tmp_path, sha256="0" * 64)
    with pytest.raises(ModelError, match=f"SHA-256 is {SHA256}, expected 000"):
        get(one)
    assert not one.target.parent.exists()


@pytest.mark.parametrize("length", [True, False])
def test_a_wrong_size_is_refused(site: Site, tmp_path: Path, length: bool) -> None:
    site.length = length
    with pytest.raises(ModelError, match="expected 1000" if length else "does not end after 1000 bytes"):
        get(wanted(site, tmp_path, size=1000))


def test_nothing_there(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="HTTP 404"):
        get(wanted(site, tmp_path, "/y.pth"))
    assert len(site.asked) == 1


def test_a_second_address_is_tried(site: Site, tmp_path: Path) -> None:
    one = Wanted([site.address + "/missing.pth", site.address + "/x.pth"], tmp_path / "x.pth", SHA256)
    assert get(one).read_bytes() == BODY


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_page_is_no_file(site: Site, tmp_path: Path, kind: str) -> None:
    site.files["/x.pth"], site.kind = b"\n<!DOCTYPE html><html>Please log in</html>", kind
    one = wanted(site, tmp_path)
    with pytest.raises(ModelError, match="a web page came instead"):
        get(one)
    assert not one.target.exists()


def test_a_stalled_connection_is_given_up_and_gone_on_with(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    site.faults += [stalls(1.0)]
    assert get(wanted(site, tmp_path, sha256=SHA256)).read_bytes() == BODY
    assert site.asked[1][1]["range"] == f"bytes={len(BODY) // 2}-"


def test_redirects_are_followed_without_the_password(site: Site, tmp_path: Path) -> None:
    site.redirects["/old"] = "/x.pth"
    url = site.address.replace("//", "//user:secret@") + "/old"
    file = get(Wanted([url], tmp_path / "x.pth"))
    assert file.read_bytes() == BODY
    assert site.asked[0][1]["authorization"].startswith("Basic ")
    assert "authorization" not in site.asked[1][1]
    assert "secret" not in (tmp_path / "x.pth.json").read_text()


@pytest.mark.parametrize("to", ["http://example.org/x.pth", "ftp://127.0.0.1/x.pth", "file:///etc/passwd"])
def test_a_redirect_to_something_unsafe_is_refused(site: Site, tmp_path: Path, to: str) -> None:
    site.redirects["/old"] = to
    with pytest.raises(ModelError, match=r"is not https|is not allowed|HTTP 302"):
        get(wanted(site, tmp_path, "/old"))


def test_http_is_for_this_machine_and_what_the_user_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"http://example\.org/x\.pth is not https"):
        get(Wanted(["http://example.org/x.pth"], tmp_path / "x.pth", plain=["http://example.org.evil", ""]))


def test_a_full_disk_is_said_before(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(ModelError, match=r"needs 3 MB, and .* has 0 MB free"):
        get(wanted(site, tmp_path))


def test_a_folder_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "set").write_text("a file")
    with pytest.raises(ModelError, match="cannot write"):
        get(wanted(site, tmp_path))


def _pull(address: str, folder: str) -> None:
    os.environ["no_proxy"] = "*"
    download(Wanted([address + "/x.pth"], Path(folder) / "x.pth", SHA256))


def test_a_lock_that_vanishes_while_it_is_looked_at_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, seen, look = tmp_path / ".lock", list[int](), os.fstat

    def vanishing(handle: int) -> os.stat_result:
        seen.append(handle)
        if len(seen) == 1:
            lock.unlink()
        return look(handle)

    monkeypatch.setattr(os, "fstat", vanishing)
    os.close(module._locked(lock, lambda what: None))
    assert len(seen) == 2
    for handle in seen:
        with pytest.raises(OSError):
            look(handle)


def test_two_processes_that_want_one_file(site: Site, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_pull, args=(site.address, str(tmp_path))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "x.pth").read_bytes() == BODY
    assert len(site.asked) == 1
    assert left_in(tmp_path) == ["x.pth", "x.pth.json"]
