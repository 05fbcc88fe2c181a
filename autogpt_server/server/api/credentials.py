"""Credentials: kept for blocks that need them.  What they hold is never answered."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse
from pydantic import AfterValidator

from autogpt_server.errors import InvalidError, Problem
from autogpt_server.model.ids import canonical_id
from autogpt_server.server.bodies import ObjectBody, documented, parse_model
from autogpt_server.server.credential_shapes import (
    CredentialsChanges,
    CredentialsShape,
    LoginShape,
    NewCredentialsBody,
    NewLoginBody,
    ProviderShape,
    read_secrets,
)
from autogpt_server.server.deps import Cursor, Limit, ServicesDep, UserId
from autogpt_server.server.known_parameters import takes_any_parameters
from autogpt_server.server.needs import needs
from autogpt_server.server.shapes import Listing

router = APIRouter(prefix="/credentials", tags=["credentials"])

CredentialsId = Annotated[str, Path(max_length=191), AfterValidator(canonical_id)]

_PAGE = """<!doctype html><meta charset="utf-8"><title>Connected</title>
<body style="font: 16px sans-serif; margin: 3em"><h1>Connected</h1>
<p>The server keeps what it was given. You can close this page.</p>"""
#: The page loads nothing, and its address, which held a code, is told to nobody.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
}


@router.get("")
async def list_credentials(
    services: ServicesDep, user_id: UserId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[CredentialsShape]:
    """List your credentials, the newest first."""
    page = await asyncio.to_thread(services.credentials.rows.list, user_id, limit=limit, cursor=cursor)
    return Listing[CredentialsShape](
        items=[CredentialsShape.of(one) for one in page.items], next_cursor=page.next_cursor
    )


@router.post("", status_code=201, openapi_extra=documented(NewCredentialsBody))
async def create_credentials(services: ServicesDep, user_id: UserId, document: ObjectBody) -> CredentialsShape:
    """Keep credentials, encrypted.  What they hold comes out nowhere but in blocks that you give them to."""
    body = parse_model(NewCredentialsBody, document, is_secret=True)
    held = read_secrets(body.secrets)
    title = body.provider if body.title is None else body.title
    added = await asyncio.to_thread(services.credentials.add, user_id, body.provider, title, held)
    return CredentialsShape.of(added)


@router.get("/providers")
async def list_providers(services: ServicesDep) -> Listing[ProviderShape]:
    """List the OAuth2 providers with which you can connect."""
    oauth = await asyncio.to_thread(lambda: services.credentials.oauth)
    items = [ProviderShape.of(name, provider) for name, provider in sorted(oauth.providers.items())]
    return Listing[ProviderShape](items=items, next_cursor=None)


@router.post("/oauth/{provider}/start", openapi_extra=documented(NewLoginBody, required=False))
async def start_login(
    services: ServicesDep, user_id: UserId, provider: Annotated[str, Path(max_length=100)], document: ObjectBody
) -> LoginShape:
    """Begin to connect with a provider: open the address that is answered in a browser."""
    body = parse_model(NewLoginBody, document)
    scopes = None if body.scopes is None else tuple(body.scopes)
    again = None if body.credentials_id is None else canonical_id(body.credentials_id)
    login = await asyncio.to_thread(
        lambda: services.credentials.begin_login(user_id, provider, body.title, scopes, again)
    )
    return LoginShape.of(login)


# Providers add parameters of their own, which must not matter (RFC 6749, section 4.1.2).
@router.get("/oauth/callback", response_class=HTMLResponse)
@takes_any_parameters
@needs(None)
async def finish_login(
    services: ServicesDep,
    state: Annotated[str, Query(max_length=1000, description="As the login was begun with.")],
    code: Annotated[str | None, Query(max_length=10_000, description="What the provider gave.")] = None,
    error: Annotated[str | None, Query(max_length=1000, description="Why it gave nothing.")] = None,
    error_description: Annotated[str | None, Query(max_length=5000, description="The same in words.")] = None,
) -> HTMLResponse:
    """Come back from a provider; it sends a browser here."""
    if code is None:
        words = ": ".join(part for part in (error, error_description) if part)
        said = f"said {words[:300]}" if words else "sent no code"
        raise InvalidError("The provider refused the login.", [Problem("code", said, "begin the login again")])
    await services.credentials.finish_login(state, code)
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.get("/{credentials_id}")
async def get_credentials(services: ServicesDep, user_id: UserId, credentials_id: CredentialsId) -> CredentialsShape:
    """Get what is known of some credentials."""
    return CredentialsShape.of(await asyncio.to_thread(services.credentials.rows.get, user_id, credentials_id))


@router.patch("/{credentials_id}", openapi_extra=documented(CredentialsChanges))
async def edit_credentials(
    services: ServicesDep, user_id: UserId, credentials_id: CredentialsId, document: ObjectBody
) -> CredentialsShape:
    """Give credentials another title, or replace what they hold; executions take the new ones from then on."""
    body = parse_model(CredentialsChanges, document, is_secret=True)
    held = None if body.secrets is None else read_secrets(body.secrets)
    edited = await asyncio.to_thread(services.credentials.edit, user_id, credentials_id, body.title, held)
    return CredentialsShape.of(edited)


@router.delete("/{credentials_id}", status_code=204)
async def delete_credentials(services: ServicesDep, user_id: UserId, credentials_id: CredentialsId) -> None:
    """Delete credentials.  Executions and schedules that use them fail from then on."""
    await asyncio.to_thread(services.credentials.rows.remove, user_id, credentials_id)
