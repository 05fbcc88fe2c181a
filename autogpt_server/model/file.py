"""Files: what is known of one, and how one travels between pins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, slots=True)
class File:
    """A stored file.  Times are aware UTC."""

    id: str
    user_id: str
    #: What its user calls it.
    name: str
    mime_type: str
    #: Bytes.
    size: int
    #: SHA-256, hexadecimal.
    hash: str
    #: Of text.
    encoding: str | None
    metadata: dict[str, Any]
    storage_key: str
    #: That stored it.
    node_execution_id: str | None
    expires_at: datetime | None
    created_at: datetime

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class FileValue(BaseModel):
    """A stored file as a value of a pin: whoever gets it can read the file, if it belongs to their user."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True, extra="ignore")

    id: str = Field(alias="$file", description="Id of the file.")
    name: str = Field(default="", description="What its user calls it.")
    mime_type: str = ""
    size: int = Field(default=0, description="Bytes.")

    @classmethod
    def of(cls, file: File) -> FileValue:
        fields = {"$file": file.id, "name": file.name, "mime_type": file.mime_type, "size": file.size}
        return cls.model_validate(fields)
