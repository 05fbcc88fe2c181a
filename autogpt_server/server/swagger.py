"""Swagger UI at ``/docs`` from local files: no other host is asked for anything, and no inline script runs."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOLDER = Path(__file__).parents[2] / "node_modules" / "swagger-ui-dist"
#: What the page needs; the folder holds other pages, too, which ask strangers.
_ASSETS = frozenset({"swagger-ui.css", "index.css", "swagger-ui-bundle.js", "favicon-32x32.png"})
#: Swagger UI sets styles on elements and draws its icons from data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="stylesheet" href="/docs/assets/index.css">
</head>
<body>
<div id="swagger-ui">Loading…</div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""


def add_swagger(app: FastAPI) -> None:
    """Serve Swagger UI for an application; where its files are not installed, the page says so."""

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        if not _FOLDER.is_dir():
            raise HTTPException(404, "Swagger UI is not installed; run ./scripts/app once more.")
        return HTMLResponse(_PAGE.format(title=app.title), headers=_HEADERS)

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(_START, headers=_HEADERS, media_type="text/javascript")

    app.mount("/docs/assets", _Assets(directory=_FOLDER, check_dir=False))


class _Assets(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        if path not in _ASSETS or not _FOLDER.is_dir():
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        # Asked again each time, answered 304 while the file is the same.
        response.headers.update(_HEADERS)
        return response
