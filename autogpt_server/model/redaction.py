"""Striking secrets out of whatever is about to be stored, shown or sent on."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote, quote_plus

#: What stands in the place of a secret.
MARK = "***"
#: Shorter ones stand in too many texts by chance, and protect nothing.
MIN_LENGTH = 4
#: An escaped byte in a URL.
_PERCENT = re.compile("%[0-9A-F]{2}")


class Redactor:
    """Knows some secrets, plain and in the forms in which programs write them.

    Args:
        secrets: Those of fewer than ``MIN_LENGTH`` characters are left alone.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= MIN_LENGTH for form in _forms(secret)}
        # The longest first: a form may hold another one.  Looked for one by one, which is much quicker than a pattern.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def __bool__(self) -> bool:
        return bool(self._forms)

    def text(self, text: str) -> str:
        """Strike the secrets out of a text."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return text

    def data(self, data: bytes) -> bytes:
        """Strike the secrets out of bytes, where they stand there as UTF-8."""
        for form in self._forms:
            if (raw := form.encode()) in data:
                data = data.replace(raw, MARK.encode())
        return data

    def value(self, value: Any) -> Any:
        """Strike the secrets out of all texts of a JSON value, keys included."""
        if not self._forms:
            return value
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self.value(one) for key, one in cast(dict[Any, Any], value).items()}
            case list() | tuple():
                return [self.value(one) for one in cast(list[Any], value)]
            case int() | float() if not isinstance(value, bool):
                # Many a secret is a number, and becomes one where an answer is read as JSON.
                return MARK if str(value) in self._forms else value
            case _:
                return value


#: For whoever knows no secret.
NOTHING_SECRET = Redactor(())


@lru_cache(maxsize=256)
def _forms(secret: str) -> tuple[str, ...]:
    """Give a secret as it is and as it is written in URLs, JSON, HTML, base64, hexadecimal and ``repr``."""
    raw = secret.encode()
    in_json = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    in_html = html.escape(secret)
    in_urls = [quote(secret, safe=""), quote(secret), quote_plus(secret)]
    written = [
        secret,
        *in_urls,
        *(_PERCENT.sub(lambda found: found[0].lower(), url) for url in in_urls),
        *in_json,
        # As PHP writes slashes, and Go what is special in HTML.
        *(text.replace("/", "\\/") for text in in_json),
        *(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") for text in in_json),
        in_html,
        in_html.replace("&#x27;", "&#39;"),
        in_html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        html.escape(secret, quote=False),
        repr(secret)[1:-1],
        raw.hex(),
        raw.hex().upper(),
    ]
    return tuple(dict.fromkeys([*written, *_in_base64(raw)]))


def _in_base64(raw: bytes) -> Iterator[str]:
    """Give the letters that stand for something wherever it stands in what is encoded."""
    for before in range(3):
        size = len(raw)
        first, last = -(-before * 8 // 6), (before + size) * 8 // 6
        padded = b"\0" * before + raw
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            part = encode(padded).decode()[first:last]
            if len(part) >= MIN_LENGTH:
                yield part
