"""Every kind of storage keeps the same promises: a local folder, and a real S3 interface."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from autogpt_server.errors import InvalidError, Unavailable
from autogpt_server.model.jsonvalue import dumps
from autogpt_server.settings import Settings
from autogpt_server.storage.store import Store
from tests.make_settings import make_settings

SOME = b"some bytes\0" * 1000


@pytest.fixture(scope="module")
def s3(s3_server: str) -> Iterator[dict[str, Any]]:
    yield s3_options(s3_server)


def s3_options(address: str) -> dict[str, Any]:
    return {"key": "k", "secret": "s", "endpoint_url": address, "client_kwargs": {"region_name": "us-east-1"}}


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store.from_settings(make_settings(tmp_path, "file:x.db"))
    options: dict[str, Any] = request.getfixturevalue("s3")
    httpx.put(f"{options['endpoint_url']}/files").raise_for_status()
    return Store.from_settings(s3_settings(tmp_path, f"s3://files/{tmp_path.name}", options))


def s3_settings(folder: Path, url: str, options: dict[str, Any]) -> Settings:
    changes = {"storage_url": url, "storage_options": SecretStr(dumps(options))}
    return make_settings(folder, "file:x.db").model_copy(update=changes)


def put(store: Store, key: str, data: bytes) -> None:
    with store.write(key) as file:
        file.write(data)


def get(store: Store, key: str) -> bytes:
    with store.read(key) as file:
        return file.read()


def test_what_is_written_is_read_from_any_place(store: Store):
    put(store, "u/1", SOME)
    assert get(store, "u/1") == SOME
    with store.read("u/1") as file:
        file.seek(5)
        assert file.read(5) == SOME[5:10]
    put(store, "u/1", b"other")
    assert get(store, "u/1") == b"other"
    put(store, "u/empty", b"")
    assert get(store, "u/empty") == b""


def test_a_write_that_breaks_off_leaves_what_was_there(store: Store):
    put(store, "u/1", b"before")
    for key in ("u/1", "u/2"):
        with pytest.raises(RuntimeError), store.write(key) as file:
            file.write(SOME)
            raise RuntimeError
    assert get(store, "u/1") == b"before"
    assert not store.exists("u/2")
    assert [found.key for found in store.objects()] == ["u/1"]


def test_everything_is_listed_with_its_age_and_deleted_once_or_twice(store: Store):
    for n in range(3):
        put(store, f"u{n}/x", b"x")
    found = {one.key: one.modified_at for one in store.objects()}
    assert found.keys() == {"u0/x", "u1/x", "u2/x"}
    assert all(abs(datetime.now(UTC) - at) < timedelta(minutes=1) for at in found.values())
    store.delete("u1/x")
    store.delete("u1/x")
    assert {one.key for one in store.objects()} == {"u0/x", "u2/x"}
    assert (store.exists("u0/x"), store.exists("u1/x")) == (True, False)
    with pytest.raises(FileNotFoundError), store.read("u1/x"):
        pass


def test_nothing_is_stored_where_nothing_was_ever_written(store: Store):
    assert list(store.objects()) == []


@hypothesis_settings(max_examples=50, deadline=None)
@given(
    key=st.text(min_size=0, max_size=20) | st.sampled_from(["../x", "u/../../x", "/etc/passwd", "u//x", "u/.", "a\\b"])
)
def test_no_key_leaves_the_root(tmp_path_factory: pytest.TempPathFactory, key: str):
    root = tmp_path_factory.mktemp("root")
    store = Store.from_settings(make_settings(root, "file:x.db"))
    with contextlib.suppress(ValueError, Unavailable, UnicodeError):
        put(store, key, b"x")
    outside = [path for path in root.rglob("*") if path.is_file() and root / "storage" not in path.parents]
    assert outside == []
    shutil.rmtree(root)


def test_a_link_that_somebody_planted_is_not_followed(tmp_path: Path):
    store = Store.from_settings(make_settings(tmp_path, "file:x.db"))
    put(store, "u/1", b"x")
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (tmp_path / "storage" / "u" / "2").symlink_to(target)
    put(store, "u/2", b"y")
    assert target.read_bytes() == b"precious"
    assert get(store, "u/2") == b"y"


def test_a_full_disk_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store.from_settings(make_settings(tmp_path, "file:x.db"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        put(store, "u/1", b"x")
    monkeypatch.undo()
    assert list(store.objects()) == []


def test_a_bucket_that_refuses_or_is_away_is_unavailable(tmp_path: Path, s3: dict[str, Any]):
    no_bucket = Store.from_settings(s3_settings(tmp_path, "s3://no-such-bucket/x", s3))
    with pytest.raises(Unavailable):
        put(no_bucket, "u/1", b"x")
    nobody = s3_options("http://127.0.0.1:1") | {
        "config_kwargs": {"connect_timeout": 1, "retries": {"max_attempts": 0}}
    }
    away = Store.from_settings(s3_settings(tmp_path, "s3://files/x", nobody))
    for ask in (lambda: put(away, "u/1", b"x"), lambda: get(away, "u/1"), lambda: list(away.objects())):
        with pytest.raises(Unavailable):
            ask()


@pytest.mark.parametrize(
    ("url", "says"),
    [("ftp://x/y", "begin it with"), ("file:relative", "absolute"), ("gs://bucket/x", r"autogpt-server\[gcs\]")],
)
def test_an_address_that_cannot_be_used_names_the_fix(tmp_path: Path, url: str, says: str):
    with pytest.raises(InvalidError) as refused:
        Store.from_settings(make_settings(tmp_path, "file:x.db").model_copy(update={"storage_url": url}))
    (problem,) = refused.value.problems
    assert problem.path == "AUTOGPT_STORAGE_URL"
    assert re.search(says, f"{problem.message} {problem.fix}")
