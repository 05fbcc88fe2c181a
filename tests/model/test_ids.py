"""Identifiers."""

from __future__ import annotations

import uuid

import pytest

from autogpt_server.model.ids import DEFAULT_USER_ID, canonical_id, is_uuid, new_id, node_execution_id


def test_new_ids_are_version_7_and_sort_by_age() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert all(map(is_uuid, ids))


@pytest.mark.parametrize(
    "text", [DEFAULT_USER_ID, DEFAULT_USER_ID.upper(), "0df38c97-8670-48af-860f-316992afc342", str(uuid.UUID(int=0))]
)
def test_uuids_of_any_version_are_uuids(text: str) -> None:
    assert is_uuid(text)


def test_uuids_are_kept_in_lower_case_and_other_texts_as_they_are() -> None:
    assert canonical_id(DEFAULT_USER_ID.upper()) == DEFAULT_USER_ID
    assert canonical_id("ValueBlock") == "ValueBlock"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        DEFAULT_USER_ID[:-1],
        DEFAULT_USER_ID + "\n",
        "{" + DEFAULT_USER_ID + "}",
        DEFAULT_USER_ID.replace("-", ""),
        "b2g2c3d4-5e6f-7g8h-9i0j-k1l2m3n4o5p6",
        "٣" + DEFAULT_USER_ID[1:],
    ],
)
def test_other_texts_are_not(text: str) -> None:
    assert not is_uuid(text)


def test_a_node_execution_is_named_by_its_execution_and_ordinal() -> None:
    assert node_execution_id("e", 12) == "e.12"
