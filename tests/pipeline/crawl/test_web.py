"""Fetching from servers that drop, refuse, lie and mislead: each ends as it should, and nothing half stays."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.crawl.addresses import is_public
from pipeline.engine.locations import crawl_into
from pipeline.stages.crawl import CrawlConfig
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from tests.pipeline.crawl.hostile_server import FILE, Handler, hostile_server

SOURCE = hashlib.sha256(FILE).hexdigest()[:16]


@pytest.fixture
def server() -> Iterator[str]:
    with hostile_server() as address:
        yield address


def crawled(run: Path, *uris: str, **options: Any) -> dict[str, dict[str, Any]]:
    """The row of each address, by the last part of its path."""
    files = Files(str(run))
    config = CrawlConfig(**{"allow_private": True, "backoff_s": 0.01, **options})
    crawl_into(files, latest(files), list(uris), config, limit=None)
    rows = Relations(files, latest(files)).arrow("locations").to_pylist()
    return {row["uri"].rsplit("/", 1)[1]: row for row in rows}


def files_in(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "media").rglob("*") if path.is_file())


def test_a_file_is_stored_by_its_content_and_asked_for_again_only_if_it_changed(tmp_path: Path, server: str) -> None:
    row = crawled(tmp_path, f"{server}/good", licence="cc-by")["good"]
    assert (row["status"], row["source_id"], row["bytes"], row["licence"]) == ("ok", SOURCE, len(FILE), "cc-by")
    assert (tmp_path / "media" / "sources" / SOURCE[:2] / SOURCE).read_bytes() == FILE
    before = latest(Files(str(tmp_path))).number
    crawled(tmp_path, f"{server}/good", licence="cc-by")
    assert Handler.asked["/good"] == 2
    assert latest(Files(str(tmp_path))).number == before


def test_a_broken_download_goes_on_where_it_broke_off(tmp_path: Path, server: str) -> None:
    row = crawled(tmp_path, f"{server}/dropping")["dropping"]
    assert row["source_id"] == SOURCE
    quarter = len(FILE) // 4
    assert Handler.sent["dropping"] == [(number * quarter, quarter) for number in range(4)]


def test_a_file_that_changes_meanwhile_is_not_patched_together(tmp_path: Path, server: str) -> None:
    assert crawled(tmp_path, f"{server}/changing")["changing"]["source_id"] == SOURCE


def test_a_busy_server_gets_its_pause(tmp_path: Path, server: str) -> None:
    began = time.monotonic()
    assert crawled(tmp_path, f"{server}/busy")["busy"]["source_id"] == SOURCE
    assert time.monotonic() - began >= 1
    assert Handler.asked["/busy"] == 3


@pytest.mark.parametrize(
    ("name", "reason", "times"),
    [
        ("none", "HTTPStatus: 404", 1),
        ("down", "HTTPStatus: 503", 3),
        ("page", "WrongType: is text/html", 1),
        ("round", "redirected more than 10 times", 11),
        ("to_file", "leads to file", 1),
        ("short", "the connection broke", 3),
        ("announced", "TooLarge: 5368709120 bytes", 1),
        ("silent", "TimedOut", 3),
    ],
)
def test_what_cannot_be_fetched_is_a_row_with_the_reason(
    tmp_path: Path, server: str, name: str, reason: str, times: int
) -> None:
    row = crawled(tmp_path, f"{server}/{name}", attempts=3, max_gb=0.01, silence_s=0.3)[name]
    assert row["status"] == "failed"
    assert reason in row["error"]
    assert row["source_id"] is None
    assert Handler.asked[f"/{name}"] == times
    assert files_in(tmp_path) == []
    assert not list((tmp_path / ".tmp").rglob("*"))


def test_endless_nothing_is_cut_off_at_the_limit(tmp_path: Path, server: str) -> None:
    row = crawled(tmp_path, f"{server}/endless", max_gb=0.02)["endless"]
    assert "TooLarge" in row["error"]
    time.sleep(0.2)
    assert len(Handler.sent["endless"]) * 2**16 < 2 * 10**8
    assert files_in(tmp_path) == []


def test_private_addresses_are_refused_unless_allowed(tmp_path: Path, server: str) -> None:
    row = crawled(tmp_path / "strict", f"{server}/good", allow_private=False)["good"]
    assert "PrivateAddress: leads to 127.0.0.1" in row["error"]
    assert Handler.asked["/good"] == 0
    name = server.replace("127.0.0.1", "localhost")
    assert "PrivateAddress" in crawled(tmp_path / "name", f"{name}/good", allow_private=False)["good"]["error"]


@pytest.mark.parametrize("name", ["to_private", "to_metadata"])
def test_a_redirect_to_the_inside_of_a_network_is_refused(
    tmp_path: Path, server: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server itself is on loopback: that one address counts as public here, everything else as it is.
    monkeypatch.setattr("pipeline.crawl.addresses.is_public", lambda host: host == "127.0.0.1" or is_public(host))
    row = crawled(tmp_path, f"{server}/{name}", allow_private=False)[name]
    assert "PrivateAddress: leads to" in row["error"]
    assert "127.0.0.1" not in row["error"]
    assert Handler.asked[f"/{name}"] == 1


def test_a_host_serves_so_many_at_once_and_no_more(tmp_path: Path, server: str) -> None:
    rows = crawled(tmp_path, *(f"{server}/slow?{number}" for number in range(12)), per_host=3)
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert Handler.at_once["most"] == 3


def test_one_bad_address_does_not_keep_the_others(tmp_path: Path, server: str) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"uri,licence\n{server}/none,cc0\n{server}/good,cc0\n{server}/page,cc0\n")
    rows = crawled(tmp_path / "run", str(listed))
    assert {name: row["status"] for name, row in rows.items()} == {"none": "failed", "good": "ok", "page": "failed"}


@given(st.ip_addresses())
def test_addresses_that_are_public_are_global_and_no_multicast(address: Any) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::",
     "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_addresses_inside_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_addresses_of_the_internet_are_public() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")
