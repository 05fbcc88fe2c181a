"""What is taken and answered about files."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from autogpt_server.files.cleanup import Cleanup
from autogpt_server.model.file import File
from autogpt_server.server.shapes import Shape
from autogpt_server.server.written_times import Moment


class FileShape(Shape):
    id: str
    name: str
    mime_type: str
    size: int = Field(description="Bytes.")
    hash: str = Field(description="SHA-256, hexadecimal.")
    encoding: str | None = Field(description="Of text.")
    metadata: dict[str, Any]
    node_execution_id: str | None = Field(description="That stored it.")
    expires_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, file: File) -> Self:
        return cls(
            id=file.id,
            name=file.name,
            mime_type=file.mime_type,
            size=file.size,
            hash=file.hash,
            encoding=file.encoding,
            metadata=file.metadata,
            node_execution_id=file.node_execution_id,
            expires_at=file.expires_at,
            created_at=file.created_at,
        )


class FileChanges(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    expires_at: Moment | None = None


class LinkBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    expires_in_seconds: Annotated[int, Field(ge=1, le=7 * 86_400, strict=True)] = 3600


class LinkShape(Shape):
    url: str = Field(description="Below the address of the server.")
    expires_at: datetime


class CleanupShape(Shape):
    deleted: int
    bytes: int
    leftovers: int = Field(description="Of uploads that broke off.")
    failed: int = Field(description="What the storage did not delete; the next run tries again.")
    names: list[str] = Field(description="Some of them.")
    is_dry_run: bool
    summary: str

    @classmethod
    def of(cls, done: Cleanup) -> Self:
        return cls(
            deleted=done.deleted,
            bytes=done.bytes,
            leftovers=done.orphans,
            failed=done.failed,
            names=done.names,
            is_dry_run=done.is_dry,
            summary=str(done),
        )
