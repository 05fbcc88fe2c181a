"""What kind of file bytes are, and whether that is what was said."""

from __future__ import annotations

import mimetypes
import re
from typing import Any, cast

import puremagic

from autogpt_server.errors import InvalidError, Problem

#: Bytes at the beginning of a file that are looked at.
HEAD_BYTES = 8 * 1024
UNKNOWN = "application/octet-stream"
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
#: Kinds that hold many others: a document may well be a ZIP file, and most text looks like plain text.
_GENERAL = frozenset({UNKNOWN, "application/zip", "application/gzip", "text/plain", "application/xml", "text/xml"})
#: What a browser or a machine would run.
_ACTIVE = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head|<body|<script|<svg|<\?xml[^>]*>\s*<svg)", re.IGNORECASE)
_ACTIVE_TYPES = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml"})
_PROGRAMS = ((b"MZ", "a Windows program"), (b"\x7fELF", "a Linux program"), (b"#!", "a script"))
_PROGRAM_TYPES = re.compile(r"application/(?:x-.*|octet-stream|vnd\.microsoft\.portable-executable)|text/x-.*")
#: From which confidence on what was detected counts: of kinds whose first bytes nothing else has, and of others.
_SURE_OF_DISTINCT, _SURE = 0.3, 0.8
_DISTINCT = re.compile(r"(?:image|audio|video)/.*|application/pdf")


def check_mime_type(head: bytes, declared: str | None, name: str) -> str:
    """Choose the type of a file: what was declared where that may be true, else what its bytes or its name tell.

    Args:
        head: How it begins; up to ``HEAD_BYTES``.
        declared: What whoever sends it says, parameters included.
        name: Of the file.

    Raises:
        InvalidError: The bytes are of another type, or the declaration is none.
    """
    wanted = _parse(declared)
    detected = _detect(head)
    if wanted is None:
        return detected or mimetypes.guess_type(name)[0] or UNKNOWN
    if _ACTIVE.match(head) and wanted not in _ACTIVE_TYPES:
        raise _refused(wanted, "a page that a browser would run", "text/html")
    for magic, what in _PROGRAMS:
        if (
            head.startswith(magic)
            and not _PROGRAM_TYPES.fullmatch(wanted)
            and not (magic == b"#!" and wanted.startswith("text/"))
        ):
            raise _refused(wanted, what, UNKNOWN)
    if detected is None or detected in _GENERAL or wanted in _GENERAL or _is_alike(wanted, detected):
        return wanted
    raise _refused(wanted, detected, detected)


def _parse(declared: str | None) -> str | None:
    text = (declared or "").partition(";")[0].strip().lower()
    if not text:
        return None
    if _TYPE.fullmatch(text) is None:
        raise InvalidError(
            "The file was refused.", [Problem("Content-Type", f"{text[:100]!r} is no type", "leave it out")]
        )
    return text


def _detect(head: bytes) -> str | None:
    if not head:
        return None
    try:
        found = cast(list[Any], cast(Any, puremagic).magic_string(head))
    except (puremagic.PureError, ValueError):
        return None
    types = [(float(one.confidence), str(one.mime_type).lower()) for one in found if one.mime_type]
    ranked = [(confidence, _is_distinct(name), name) for confidence, name in types]
    confidence, is_distinct, best = max(ranked, default=(0.0, False, ""))
    return best if confidence >= (_SURE_OF_DISTINCT if is_distinct else _SURE) else None


def _is_distinct(mime_type: str) -> bool:
    return _DISTINCT.fullmatch(mime_type) is not None


def _is_alike(first: str, second: str) -> bool:
    """Tell whether two names are of one kind: ``image/x-png`` and ``image/png``, ``audio/mp4`` and ``video/mp4``."""

    def plain(text: str) -> str:
        return text.rpartition("/")[2].removeprefix("x-").removeprefix("vnd.")

    return plain(first) == plain(second) or {first, second} <= _TEXTUAL


_TEXTUAL = frozenset({"text/csv", "application/json", "text/markdown", "text/plain", "application/yaml"})


def _refused(declared: str, found: str, right: str) -> InvalidError:
    problem = Problem("Content-Type", f"says {declared}, and the bytes are {found}", f"send it as {right}, or without")
    return InvalidError("The file was refused.", [problem])
