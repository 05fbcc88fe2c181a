"""Users' files: sending, fetching, listing, deleting them, and links that others can fetch them by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AfterValidator
from starlette.responses import StreamingResponse

from autogpt_server.errors import FileNotKnown, InvalidError, NotAuthenticated, Problem
from autogpt_server.files.cleanup import clean_up
from autogpt_server.files.files import Upload
from autogpt_server.model import clock
from autogpt_server.model.file import File
from autogpt_server.model.ids import canonical_id
from autogpt_server.model.principal import Scope
from autogpt_server.server.bodies import InputsBody, ObjectBody, documented, parse_model
from autogpt_server.server.deps import Cursor, Limit, ServicesDep, UserId
from autogpt_server.server.file_shapes import CleanupShape, FileChanges, FileShape, LinkBody, LinkShape
from autogpt_server.server.needs import PRINCIPAL_KEY, check_allowed, needs
from autogpt_server.server.services import Services
from autogpt_server.server.shapes import Listing

router = APIRouter(prefix="/files", tags=["files"])

FileId = Annotated[str, Path(max_length=191), AfterValidator(canonical_id)]
Name = Annotated[str, Query(max_length=255, description="What to call it.")]
ExpiresIn = Annotated[
    int | None, Query(ge=1, le=10 * 366 * 86_400, description="It is deleted some time after so many.")
]
DryRun = Annotated[bool, Query(description="Only tell what would be deleted.")]
Expires = Annotated[int | None, Query(description="Of a signed link.")]
Signature = Annotated[str | None, Query(max_length=100, description="Of a signed link.")]
ContentType = Annotated[str | None, Header(description="What kind of file it is; found out where it is left out.")]
Range = Annotated[str | None, Header(description="One range of bytes.")]
IfNoneMatch = Annotated[str | None, Header()]

#: What a link's signature is for.
_PURPOSE = "file link"
#: Bytes that are collected before they are written.
_PIECE = 1024 * 1024
_BINARY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.post("", status_code=201, openapi_extra={"requestBody": {"required": True, **_BINARY}})
async def upload_file(
    request: Request,
    services: ServicesDep,
    user_id: UserId,
    response: Response,
    name: Name,
    expires_in_seconds: ExpiresIn = None,
    content_type: ContentType = None,
) -> FileShape:
    """Store a file: the body is its bytes, of any length up to the limit for files."""
    expires_at = None if expires_in_seconds is None else clock.now() + timedelta(seconds=expires_in_seconds)
    upload = await asyncio.to_thread(services.files.begin, user_id, name, content_type, expires_at=expires_at)
    try:
        await _take(request, upload)
        file = await asyncio.to_thread(upload.finish)
    finally:
        # Also when the client hangs up: harmless once it is finished.
        await asyncio.shield(asyncio.to_thread(upload.abort))
    response.headers["Location"] = f"/api/files/{file.id}"
    return FileShape.of(file)


@router.get("")
async def list_files(
    services: ServicesDep, user_id: UserId, limit: Limit = 50, cursor: Cursor = None
) -> Listing[FileShape]:
    """List your files, the newest first."""
    page = await asyncio.to_thread(services.files.rows.list, user_id, clock.now(), limit=limit, cursor=cursor)
    return Listing[FileShape](items=[FileShape.of(file) for file in page.items], next_cursor=page.next_cursor)


@router.post("/cleanup")
@needs(Scope.ADMIN)
async def clean_up_files(services: ServicesDep, dry_run: DryRun = False) -> CleanupShape:
    """Delete files of all users whose time has been over for an hour, and what broken uploads left."""
    done = await asyncio.to_thread(clean_up, services.files, services.steady_clock, dry_run=dry_run)
    return CleanupShape.of(done)


@router.get("/{file_id}")
async def get_file(services: ServicesDep, user_id: UserId, file_id: FileId) -> FileShape:
    """Get what is known of a file."""
    return FileShape.of(await asyncio.to_thread(services.files.rows.get, user_id, file_id, clock.now()))


@router.patch("/{file_id}", openapi_extra=documented(FileChanges))
async def edit_file(services: ServicesDep, user_id: UserId, file_id: FileId, document: ObjectBody) -> FileShape:
    """Change what a file is called, or when it expires; null for never."""
    changes = parse_model(FileChanges, document).model_dump(exclude_unset=True)
    return FileShape.of(await asyncio.to_thread(services.files.edit, user_id, file_id, changes))


@router.delete("/{file_id}", status_code=204)
async def delete_file(services: ServicesDep, user_id: UserId, file_id: FileId) -> None:
    """Delete a file."""
    await asyncio.to_thread(services.files.delete, user_id, file_id)


@router.post("/{file_id}/link", status_code=201, openapi_extra=documented(LinkBody, required=False))
@needs(Scope.READ)
async def link_file(services: ServicesDep, user_id: UserId, file_id: FileId, document: InputsBody) -> LinkShape:
    """Make a link by which anybody can fetch the file, without a key, until it expires."""
    body = parse_model(LinkBody, document)
    file = await asyncio.to_thread(services.files.rows.get, user_id, file_id, clock.now())
    expires = int(time.time()) + body.expires_in_seconds
    signature = await asyncio.to_thread(services.keyring.sign, _signed_text(file, expires), _PURPOSE)
    url = f"/api/files/{file.id}/content?expires={expires}&signature={signature}"
    return LinkShape(url=url, expires_at=clock.from_ms(expires * 1000))


@router.get(
    "/{file_id}/content",
    response_class=Response,
    responses={200: _BINARY | {"description": "The bytes"}, 206: _BINARY | {"description": "Some of them"}},
)
@needs(None)
async def get_content(
    request: Request,
    services: ServicesDep,
    file_id: FileId,
    expires: Expires = None,
    signature: Signature = None,
    range_: Annotated[str | None, Header(alias="range", description="One range of bytes.")] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Get the bytes of a file, all or a range: with a key, or by a signed link."""
    file = await _find(request, services, file_id, expires, signature)
    tag = f'"{file.hash}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        # Never shown by a browser as a page of this server.
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if if_none_match is not None and tag in (one.strip() for one in if_none_match.split(",")):
        return Response(status_code=304, headers=headers)
    first, last, status = _range(range_, file.size)
    headers["Content-Length"] = str(last - first + 1)
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
    # The first piece before the answer begins: a storage that is away is told with 503.
    pieces = services.files.chunks(file, first, last)
    begin = await asyncio.to_thread(next, pieces, b"")
    return StreamingResponse(_stream(begin, pieces), status, headers, media_type=file.mime_type)


async def _take(request: Request, upload: Upload) -> None:
    waiting, size = list[bytes](), 0
    async for chunk in request.stream():
        waiting.append(chunk)
        size += len(chunk)
        if size >= _PIECE:
            await asyncio.to_thread(upload.feed, b"".join(waiting))
            waiting, size = [], 0
    await asyncio.to_thread(upload.feed, b"".join(waiting))


async def _find(request: Request, services: Services, file_id: str, expires: int | None, signature: str | None) -> File:
    if signature is not None and expires is not None:
        file = await asyncio.to_thread(services.files.rows.find, file_id)
        # Whether there is such a file nobody learns who has no link to it.
        is_right = file is not None and await asyncio.to_thread(
            services.keyring.is_signed, _signed_text(file, expires), _PURPOSE, signature
        )
        if file is None or not is_right or time.time() >= expires:
            raise NotAuthenticated("This link is not valid, or not any more; ask for another one.")
        if file.is_expired(clock.now()):
            raise FileNotKnown(file_id)
        return file
    principal = request.scope.get(PRINCIPAL_KEY)
    if principal is None:
        raise NotAuthenticated("This link lacks its signature; ask for another one.")
    check_allowed(principal, Scope.READ)
    return await asyncio.to_thread(services.files.rows.get, principal.user_id, file_id, clock.now())


def _signed_text(file: File, expires: int) -> str:
    return f"{file.id} {file.hash} {expires}"


def _range(header: str | None, size: int) -> tuple[int, int, int]:
    """Read the header of a range; returns the first and the last byte, and the status.

    Raises:
        InvalidError: It lies outside of the file.
    """
    unit, _, wanted = (header or "").partition("=")
    start, dash, end = wanted.strip().partition("-")
    is_plain = unit.strip().lower() == "bytes" and dash and all(part == "" or part.isdecimal() for part in (start, end))
    if not is_plain or (not start and not end) or size == 0:
        # Several ranges, or another unit: everything is a right answer, too (RFC 9110, section 14.2).
        return 0, size - 1, 200
    first = max(0, size - int(end)) if not start else int(start)
    last = size - 1 if not start or not end else min(int(end), size - 1)
    if first > last:
        problem = Problem("Range", f"lies outside of its {size:,} bytes", "leave it out")
        raise InvalidError("The range was refused.", [problem])
    return first, last, 206


async def _stream(begin: bytes, pieces: Any) -> AsyncIterator[bytes]:
    yield begin
    try:
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece
    finally:
        await asyncio.shield(asyncio.to_thread(pieces.close))
