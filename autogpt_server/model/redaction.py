"""Striking secrets out of whatever is about to be stored, shown or sent on."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast
from urllib.parse import quote, quote_plus

#: What stands in the place of a secret.
MARK = "***"
#: Shorter ones stand in too many texts by chance, and protect nothing.
MIN_LENGTH = 4


class Redactor:
    """Knows some secrets, plain and in the forms in which programs write them.

    Args:
        secrets: Those of fewer than ``MIN_LENGTH`` characters are left alone.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= MIN_LENGTH for form in _forms(secret)}
        # The longest first: a form may hold another one.
        words = sorted(forms, key=lambda form: (-len(form), form))
        self._text = re.compile("|".join(map(re.escape, words))) if words else None
        self._bytes = re.compile(b"|".join(re.escape(word.encode()) for word in words)) if words else None

    def __bool__(self) -> bool:
        return self._text is not None

    def text(self, text: str) -> str:
        """Strike the secrets out of a text."""
        return text if self._text is None else self._text.sub(MARK, text)

    def data(self, data: bytes) -> bytes:
        """Strike the secrets out of bytes, where they stand there as UTF-8."""
        return data if self._bytes is None else self._bytes.sub(MARK.encode(), data)

    def value(self, value: Any) -> Any:
        """Strike the secrets out of all texts of a JSON value, keys included."""
        if self._text is None:
            return value
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self.value(one) for key, one in cast(dict[Any, Any], value).items()}
            case list() | tuple():
                return [self.value(one) for one in cast(list[Any], value)]
            case _:
                return value


#: For whoever knows no secret.
NOTHING_SECRET = Redactor(())


def _forms(secret: str) -> Iterator[str]:
    """Give a secret as it is and as it is written in URLs, JSON, HTML, base64, hexadecimal and ``repr``."""
    raw = secret.encode()
    written = [
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        repr(secret)[1:-1],
        raw.hex(),
    ]
    yield from written
    # In base64 its letters depend on where it stands in what was encoded; those that depend on nothing else are taken.
    for before in range(3):
        size = len(raw)
        first, last = -(-before * 8 // 6), (before + size) * 8 // 6
        padded = b"\0" * before + raw
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            part = encode(padded).decode()[first:last]
            if len(part) >= MIN_LENGTH:
                yield part
