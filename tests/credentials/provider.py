"""An OAuth2 provider in this process, over real HTTP, that does what it is told."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit


class Consent(NamedTuple):
    """What a user is sent back with, and the whole address."""

    address: str
    code: str
    state: str


class Provider:
    """Gives codes and tokens, and checks what is sent for them."""

    def __init__(self) -> None:
        #: Seconds that an access token lives; None says nothing of it.
        self.life: int | None = 3600
        #: Status and body that the next answers of the token address have instead of tokens.
        self.failures: list[tuple[int, str]] = []
        #: Whether an old refresh token is good for nothing once it was used.
        self.rotates = True
        #: Set once it was asked for tokens, and cleared to keep it from answering.
        self.asked, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.refreshes = 0
        self.issued: list[str] = []
        #: What the tokens begin with.
        self.prefix = "tok-"
        self._codes: dict[str, dict[str, str]] = {}
        self._refresh_tokens: set[str] = set()
        self._lock = threading.Lock()
        self.url = ""

    def consent(self, authorization_url: str) -> Consent:
        """Say yes, as a user in a browser does."""
        query = {key: values[0] for key, values in parse_qs(urlsplit(authorization_url).query).items()}
        assert query["response_type"] == "code"
        assert query["client_id"] == "the-client"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        # As Google and Keycloak do, it adds parameters of its own.
        more = {"scope": query.get("scope", ""), "authuser": "0", "session_state": "x", "iss": self.url}
        back = {"code": code, "state": query["state"], **more}
        return Consent(f"{query['redirect_uri']}?{urlencode(back)}", code, query["state"])

    def accept(self, refresh_token: str) -> None:
        """Take a refresh token for one of its own."""
        self._refresh_tokens.add(refresh_token)

    def answer(self, authorization: str, form: dict[str, str]) -> tuple[int, Any]:
        self.asked.set()
        assert self.gate.wait(30)
        with self._lock:
            expected = base64.b64encode(b"the-client:the-secret").decode()
            if authorization != f"Basic {expected}":
                return 401, {"error": "invalid_client"}
            if self.failures:
                return self.failures.pop(0)
            if form["grant_type"] == "authorization_code":
                asked = self._codes.pop(form["code"], None)
                digest = hashlib.sha256(form["code_verifier"].encode()).digest()
                challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                if (
                    asked is None
                    or challenge != asked["code_challenge"]
                    or asked["redirect_uri"] != form["redirect_uri"]
                ):
                    return 400, {"error": "invalid_grant", "error_description": "bad code"}
                return 200, self._tokens(asked.get("scope", ""))
            if form["refresh_token"] not in self._refresh_tokens:
                return 400, {"error": "invalid_grant", "error_description": f"unknown {form['refresh_token']}"}
            if self.rotates:
                self._refresh_tokens.discard(form["refresh_token"])
            self.refreshes += 1
            return 200, self._tokens(form.get("scope", ""))

    def _tokens(self, scope: str) -> dict[str, Any]:
        access, refresh = (self.prefix + secrets.token_urlsafe(24) for _ in range(2))
        self.issued += [access, refresh]
        self._refresh_tokens.add(refresh)
        more = {} if self.life is None else {"expires_in": self.life}
        return {"access_token": access, "refresh_token": refresh, "token_type": "bearer", "scope": scope, **more}

    def write_file(self, folder: Path) -> Path:
        """Write the file that names it as ``acme``."""
        path = folder / "providers.json"
        entry = {
            "client_id": "the-client",
            "client_secret": "the-secret",
            "authorize_url": f"{self.url}/authorize",
            "token_url": f"{self.url}/token",
            "scopes": ["read", "write"],
        }
        path.write_text(json.dumps({"acme": entry}))
        path.chmod(0o600)
        return path


@contextmanager
def running_provider() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {key: values[0] for key, values in parse_qs(raw).items()}
            status, body = provider.answer(self.headers.get("Authorization", ""), form)
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
