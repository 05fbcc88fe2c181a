"""What the request handlers work with, opened and closed with the application."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from autogpt_server.blocks.registry import load_registry
from autogpt_server.credentials.check import CredentialsCheck
from autogpt_server.credentials.store import CredentialStore
from autogpt_server.data.blocks import sync_blocks
from autogpt_server.data.database import Database
from autogpt_server.data.executions import Executions
from autogpt_server.data.keyring import open_keyring
from autogpt_server.data.leases import Leases
from autogpt_server.data.prisma_client import Prisma, connect
from autogpt_server.data.users import Users, ensure_default_user
from autogpt_server.data.write_probe import WriteProbe
from autogpt_server.events.datagrams import DatagramReceiver
from autogpt_server.events.handover import Offers
from autogpt_server.events.nudge import Nudger, NudgeReceiver, Topic
from autogpt_server.executor.rerun import Reruns
from autogpt_server.executor.submit import Submitter
from autogpt_server.files.cleanup import SteadyClock
from autogpt_server.files.files import Files
from autogpt_server.model.block import BlockRegistry
from autogpt_server.model.check import Limits
from autogpt_server.scheduler.backfill import Backfills
from autogpt_server.scheduler.scheduling import Scheduling
from autogpt_server.server.block_calls import BlockCalls
from autogpt_server.server.block_names import BlockNames
from autogpt_server.server.events import EventStreams
from autogpt_server.server.executor_watch import ExecutorWatch
from autogpt_server.service.run_folder import open_run_folder
from autogpt_server.settings import Settings
from autogpt_server.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that outlives a request."""

    settings: Settings
    registry: BlockRegistry
    #: For what people name and edit.
    prisma: Prisma
    #: For everything else; blocking, so call it in threads.
    database: Database
    write_probe: WriteProbe
    executions: Executions
    submitter: Submitter
    reruns: Reruns
    scheduling: Scheduling
    backfills: Backfills
    files: Files
    #: For deleting what expired.
    steady_clock: SteadyClock
    keyring: Keyring
    credentials: CredentialStore
    users: Users
    block_names: BlockNames
    block_calls: BlockCalls
    events: EventStreams
    executors: ExecutorWatch
    started_at: float

    @property
    def limits(self) -> Limits:
        return Limits(self.settings.max_nodes, self.settings.max_links)


@asynccontextmanager
async def open_services(settings: Settings, stopping: asyncio.Event) -> AsyncGenerator[Services]:
    """Open everything, and make sure that the default user and the rows of the blocks exist.

    Args:
        settings: Of the server.
        stopping: Set when the server begins to stop; ends what would go on for long.

    Raises:
        Unavailable: The query engine or the database does not answer.
        InvalidError: A setting names blocks that cannot be used.
    """
    registry = load_registry(settings.blocks)
    async with AsyncExitStack() as stack:
        prisma = await connect(settings)
        stack.push_async_callback(prisma.disconnect)
        await ensure_default_user(prisma)
        await sync_blocks(prisma, registry)
        database = Database.from_settings(settings)
        stack.callback(database.close)
        run_folder = open_run_folder(settings)
        offers = Offers(run_folder)
        stack.callback(offers.close)
        await offers.open()
        keyring = open_keyring(settings, database)
        credentials = CredentialStore(settings, database, keyring)
        stack.push_async_callback(credentials.close)
        check = CredentialsCheck(registry, credentials)
        submitter = Submitter(settings, database, offers, check)
        stack.push_async_callback(submitter.close)
        executions, block_names = Executions(database), BlockNames(database)
        executors = ExecutorWatch(Leases(database), settings.executor_lease_seconds)
        events = EventStreams(executions, block_names, stopping)
        nudges = NudgeReceiver(run_folder, Topic.CHANGES, f"server-{os.getpid()}")
        await nudges.open(events.wake)
        stack.callback(nudges.close)
        nudger = Nudger(run_folder)
        stack.callback(nudger.close)
        drafts = DatagramReceiver(run_folder / f"server-{os.getpid()}.{Topic.DRAFTS}")
        await drafts.open(events.hear_draft)
        stack.callback(drafts.close)
        block_calls = BlockCalls(settings)
        stack.push_async_callback(events.close)
        stack.push_async_callback(block_calls.close)
        await stack.enter_async_context(executors.watching())
        yield Services(
            settings=settings,
            registry=registry,
            prisma=prisma,
            database=database,
            write_probe=WriteProbe(database),
            executions=executions,
            submitter=submitter,
            reruns=Reruns(settings, database, registry),
            scheduling=Scheduling(database, lambda ids: nudger.send(Topic.SCHEDULES, ids), check),
            backfills=Backfills(database),
            files=Files(settings, database),
            steady_clock=SteadyClock(),
            keyring=keyring,
            credentials=credentials,
            users=Users(database),
            block_names=block_names,
            block_calls=block_calls,
            events=events,
            executors=executors,
            started_at=time.monotonic(),
        )
