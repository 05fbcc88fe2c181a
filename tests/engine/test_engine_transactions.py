"""Interactive transactions.  We use none on SQLite, but the engine keeps the client's whole contract."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from prisma import Prisma, errors

from autogpt_server.model.ids import new_id
from autogpt_server.settings import Settings


async def add_user(db: Prisma) -> str:
    user_id = new_id()
    await db.user.create(data={"id": user_id, "email": f"{user_id}@localhost"})
    return user_id


async def exists(db: Prisma, user_id: str) -> bool:
    return await db.user.find_unique(where={"id": user_id}) is not None


async def test_a_transaction_is_seen_by_others_only_after_its_commit(db: Prisma) -> None:
    async with db.tx() as tx:
        user_id = await add_user(tx)
        assert await exists(tx, user_id)
        assert not await exists(db, user_id)

    assert await exists(db, user_id)


async def test_an_exception_rolls_a_transaction_back(db: Prisma) -> None:
    user_id = ""
    with pytest.raises(ValueError, match="of the caller"):
        async with db.tx() as tx:
            user_id = await add_user(tx)
            raise ValueError("of the caller")

    assert not await exists(db, user_id)


async def test_a_transaction_that_lasts_too_long_is_undone_and_leaves_no_lock(db: Prisma) -> None:
    # given a transaction that its owner forgets
    transaction = db.tx(timeout=timedelta(milliseconds=100))
    tx = await transaction.start()
    user_id = await add_user(tx)

    # when another one writes, it comes through as soon as the first has expired
    await asyncio.wait_for(add_user(db), timeout=5)
    await until_expired(tx)

    # then nothing of it remains
    assert not await exists(db, user_id)
    with pytest.raises(errors.TransactionError):
        await transaction.commit()


async def until_expired(tx: Prisma) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(errors.TransactionError):
            while True:
                await tx.user.count()


async def test_waiting_for_a_transaction_is_limited_and_leaves_no_lock(db: Prisma, engine_settings: Settings) -> None:
    if "postgres" in engine_settings.database_url:
        pytest.skip("on PostgreSQL transactions do not wait for each other")
    async with db.tx() as tx:
        held = await add_user(tx)
        with pytest.raises(errors.TransactionError, match="in the given time"):
            await db.tx(max_wait=timedelta(milliseconds=100)).start()

    written = await asyncio.wait_for(add_user(db), timeout=5)
    assert await exists(db, held)
    assert await exists(db, written)
    async with db.tx() as tx:
        await add_user(tx)
