"""Who may do what: every endpoint x every kind of key x one's own and another user's objects."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from prisma_fixtures import running_engine, settings_for

from autogpt_server.accounts.accounts import Accounts
from autogpt_server.accounts.secrets import hash_secret, new_key_text
from autogpt_server.data.api_keys import ApiKeys
from autogpt_server.data.database import Database
from autogpt_server.model import clock
from autogpt_server.model.account import ApiKey, User
from autogpt_server.model.ids import new_id
from autogpt_server.model.principal import Role, Scope
from autogpt_server.server.rest import create_app
from tests.make_graph import graph_json, make_graph
from tests.migrated_database import migrated_database
from tests.odd_blocks import ALL
from tests.server.access import ENDPOINTS, Endpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Caller:
    """Somebody with a key, and what belongs to them."""

    name: str
    user: User | None
    key: str | None
    scopes: frozenset[Scope]
    own: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def is_known(self) -> bool:
        return bool(self.scopes)


class World:
    """A server on which keys are needed, users of every role, and keys of every kind."""

    def __init__(self, app: Any, http: httpx.AsyncClient, database: Database) -> None:
        self.app, self.http, self.database = app, http, database
        self.accounts = Accounts(database)
        self.numbers = itertools.count()

    def user(self, role: Role) -> User:
        return self.accounts.add_user(f"{role}-{next(self.numbers)}@example.org", None, "UTC", role)

    def caller(self, name: str, role: Role, scopes: list[Scope] | None = None) -> Caller:
        user = self.user(role)
        key, text = self.accounts.add_key(user, name, scopes)
        return Caller(name, user, text, key.scopes)

    def callers(self) -> list[Caller]:
        owner, member, viewer = (self.caller(role.value, role) for role in Role)
        some = [self.caller(f"owner's {scope} key", Role.OWNER, [scope]) for scope in Scope]
        revoked = self.caller("revoked", Role.OWNER)
        self.accounts.keys.revoke(self.accounts.keys.list(revoked.user.id, limit=1).items[0].id, None)
        disabled = self.caller("disabled", Role.MEMBER)
        self.accounts.edit_user(disabled.user.id, {"is_disabled": True})
        demoted = self.caller("was owner", Role.OWNER)
        self.accounts.edit_user(demoted.user.id, {"role": Role.VIEWER})
        demoted.scopes = Role.VIEWER.scopes
        strangers = [
            Caller("no key", None, None, frozenset()),
            Caller("not a key", None, "secret", frozenset()),
            Caller("unknown key", None, str(new_key_text()), frozenset()),
            Caller("wrong secret", None, owner.key[:-1] + ("A" if owner.key[-1] != "A" else "B"), frozenset()),
            Caller("expired", None, self.expired_key(owner.user), frozenset()),
            Caller("setup token", None, self.setup_token(owner.user), frozenset()),
        ]
        revoked.scopes = disabled.scopes = frozenset()
        return [owner, member, viewer, demoted, *some, revoked, disabled, *strangers]

    def expired_key(self, user: User) -> str:
        return self.stored(user, expires_at=clock.now() - timedelta(seconds=1))

    def setup_token(self, user: User) -> str:
        return self.stored(user, is_setup=True)

    def stored(self, user: User, **more: Any) -> str:
        text, now = new_key_text(), clock.now()
        fields = {
            "id": new_id(), "user_id": user.id, "name": "x", "prefix": text.prefix, "scopes": frozenset(Scope),
            "is_setup": False, "expires_at": None, "last_used_at": None, "revoked_at": None, "created_at": now,
        }  # fmt: skip
        ApiKeys(self.database).add(ApiKey(**fields | more), hash_secret(text.secret))
        return str(text)

    async def send(self, caller: Caller, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {} if caller.key is None else {"Authorization": f"Bearer {caller.key}"}
        return await self.http.request(method, path, json=body, headers=headers)

    async def objects(self, owner: Caller) -> dict[str, str]:
        """Make one of everything that belongs to somebody, by the names of path parameters."""
        graph = graph_json(make_graph(self.app.state.services.registry, {"a": ("ValueBlock", {"input": 1})}))
        graph_id = await self.made(owner, "/api/graphs", graph, new_ids="true")
        execution_id = await self.made(owner, f"/api/graphs/{graph_id}/execute", {})
        # So that the stream of its events ends.
        assert (await self.send(owner, "POST", f"/api/executions/{execution_id}/stop")).status_code == 200
        schedule_id = await self.made(owner, f"/api/graphs/{graph_id}/schedules", {"cron": "@yearly", "inputs": {}})
        key, _ = self.accounts.add_key(owner.user, "to be looked at", [Scope.READ])
        return {"graph_id": graph_id, "execution_id": execution_id, "schedule_id": schedule_id, "key_id": key.id} | {
            "provider": "acme",
            "credentials_id": await self.made(
                owner,
                "/api/credentials",
                {"provider": "acme", "secrets": {"type": "api_key", "api_key": "secret"}},
            ),
            "target_id": await self.made(
                owner, "/api/notifications/targets", {"kind": "mail", "address": "ann@example.org"}
            ),
            "file_id": self.app.state.services.files.add(owner.user.id, "a.txt", b"Hello").id,
        }

    async def made(self, owner: Caller, path: str, body: object, **query: str) -> str:
        headers = {"Authorization": f"Bearer {owner.key}"}
        answer = await self.http.post(path, json=body, headers=headers, params=query)
        assert answer.status_code in (201, 202), answer.text
        return answer.json()["id"]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("access")
    with migrated_database(request, folder) as url:
        settings = settings_for(folder, url, blocks=ALL)
        with running_engine(settings):
            app = create_app(settings)
            transport = httpx.ASGITransport(app)
            database = Database.from_settings(settings)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
            ):
                yield World(app, http, database)
            database.close()


def path_of(endpoint: Endpoint, ids: dict[str, str]) -> str:
    others = {"name": "NoBlock", "version": "1", "job_id": "nothing", "task_id": "nothing", "user_id": new_id()}
    return endpoint.path.format_map(others | ids)


async def test_the_matrix(world: World):
    callers = world.callers()
    stranger = world.caller("somebody else", Role.MEMBER)
    foreign = await world.objects(stranger)
    seen: Counter[str] = Counter()
    for endpoint, caller in itertools.product(ENDPOINTS, callers):
        may = endpoint.scope is None or endpoint.scope in caller.scopes
        wholes = ["foreign"]
        if endpoint.is_owned and may and {Scope.WRITE, Scope.EXECUTE} <= caller.scopes:
            wholes.append("own")
        for whose in wholes:
            ids = foreign if whose == "foreign" else await world.objects(caller)
            answer = await world.send(caller, endpoint.method, path_of(endpoint, ids), endpoint.body)
            case = f"{caller.name}, {whose}: {endpoint.name} gave {answer.status_code} {answer.text[:300]}"
            status = answer.status_code
            if endpoint.scope is not None and not caller.is_known:
                assert status == 401, case
                assert answer.headers["www-authenticate"] == "Bearer", case
                assert answer.json()["type"] == "urn:autogpt:problem:not-authenticated", case
            elif not may:
                assert status == 403, case
                assert endpoint.scope.value in answer.json()["detail"], case
            elif (
                endpoint.is_owned
                and whose == "foreign"
                and not (endpoint.path.startswith("/api/keys/") and Scope.ADMIN in caller.scopes)
            ):
                assert status == 404, case
            elif endpoint.is_owned:
                assert status in (200, 201, 202, 204, 409, 422), case
            elif endpoint.path == "/api/keys/claim":
                assert status == 401, case
            else:
                assert status in (200, 201, 404, 422, 503), case
            seen[str(status)] += 1
    # So that nobody empties it by mistake.
    assert sum(seen.values()) > 900, seen
    # Nothing of the other user's was touched.
    for name in ("graph", "execution", "schedule", "file"):
        path = f"/api/{name}s/{foreign[f'{name}_id']}"
        assert (await world.send(stranger, "GET", path)).status_code == 200


async def test_lists_hold_what_is_ones_own(world: World):
    ann, bob = world.caller("ann", Role.MEMBER), world.caller("bob", Role.OWNER)
    ids = await world.objects(ann)
    for path in ("/api/graphs", "/api/executions", "/api/schedules"):
        assert len((await world.send(ann, "GET", path)).json()["items"]) == 1
        assert (await world.send(bob, "GET", path)).json()["items"] == []
    of_graph = f"/api/graphs/{ids['graph_id']}/schedules"
    assert len((await world.send(ann, "GET", of_graph)).json()["items"]) == 1
    assert (await world.send(bob, "GET", of_graph)).json()["items"] == []
    mine = (await world.send(ann, "GET", "/api/keys")).json()["items"]
    assert {key["user_id"] for key in mine} == {ann.user.id}
    assert all("key" not in key and "hash" not in key for key in mine)
    assert (await world.send(ann, "GET", "/api/keys?of_all=true")).status_code == 403
    assert len((await world.send(bob, "GET", "/api/keys?of_all=true")).json()["items"]) > len(mine)
