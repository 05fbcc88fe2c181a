"""Sends a web request."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from autogpt_server.blocks.web_client import WebRequest, WebResponse, fetch
from autogpt_server.errors import BlockError
from autogpt_server.model.block import AsyncBlockOutput, Block, BlockCategory, BlockContext, BlockSchema
from autogpt_server.model.credentials import CredentialsField, CredentialsMetaInput
from autogpt_server.model.jsonvalue import loads

_LARGEST_BYTES = 100 * 1024 * 1024


class SendWebRequestBlock(Block):
    id = "6595ae1f-b924-42cb-9a41-551a0611c4b4"
    aliases = ("HttpRequestBlock",)
    description = (
        "Sends a web request to a public address.  POST and PATCH carry an Idempotency-Key, the same in every attempt."
    )
    categories = frozenset({BlockCategory.NETWORK, BlockCategory.OUTPUT})
    blocking = False

    class Input(BlockSchema):
        url: str = Field(description="The address, http or https.")
        method: Literal["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] = Field(
            default="POST", description="The method."
        )
        headers: dict[str, str] = Field(default={}, description="More headers.")
        json_format: bool = Field(default=True, description="Send the body as JSON, and read the answer as JSON.")
        body: Any = Field(default=None, description="The body: any value as JSON, else a text or a form's fields.")
        files_name: str = Field(default="file", description="The form field of the files.")
        files: list[str] = Field(default=[], description="Paths of files inside the user's folder to send along.")
        timeout_seconds: float = Field(default=30, gt=0, le=600, description="How long it may take.")
        max_bytes: int = Field(
            default=10 * 1024 * 1024, gt=0, le=_LARGEST_BYTES, description="How large the answer may be."
        )
        credentials: CredentialsMetaInput | None = CredentialsField(
            "Sent along as a header, and to no other host that a redirect leads to.", is_optional=True
        )

    class Output(BlockSchema):
        response: Any = Field(description="The answer: a JSON value where it is one, else a text.")
        client_error: Any = Field(description="The answer, when its status is 4xx.")
        server_error: Any = Field(description="The answer, when its status is 5xx.")

    test_input = [
        {"url": "{server}/echo?a=1", "body": {"b": [2]}},
        {"url": "{server}/none", "method": "GET", "json_format": False},
    ]
    test_output = [("response", {"method": "POST", "path": "/echo?a=1", "body": '{"b":[2]}'}), ("client_error", "none")]

    async def run(self, input_data: Input, context: BlockContext) -> AsyncBlockOutput:
        if urlsplit(input_data.url).scheme not in ("http", "https"):
            raise BlockError(
                f"{input_data.url!r:.200} is no address of the web; it must begin with http:// or https://"
            )
        headers = dict(input_data.headers)
        if input_data.method in ("POST", "PATCH") and "idempotency-key" not in {name.lower() for name in headers}:
            headers["Idempotency-Key"] = context.node_execution_id
        request = WebRequest(
            input_data.method,
            input_data.url,
            headers,
            _body(input_data, context),
            input_data.timeout_seconds,
            input_data.max_bytes,
            None if input_data.credentials is None else context.get_credentials(input_data.credentials),
        )
        response = await fetch(request, context.is_address_allowed)
        if response.is_busy_or_broken:
            failure = BlockError(
                f"{input_data.url} answered with status {response.status}", response.retry_after_seconds
            )
            # After the last try the answer goes out as any other does.
            if context.is_retried(failure):
                raise failure
        yield _pin(response), _json_or_text(response.text) if input_data.json_format else response.text


def _body(input_data: SendWebRequestBlock.Input, context: BlockContext) -> dict[str, Any]:
    """Return the arguments of httpx that make the body."""
    body = input_data.body
    if input_data.files:
        if body is not None and not isinstance(body, dict):
            raise BlockError("a body that goes along with files must be an object: the form's fields")
        files = [
            (input_data.files_name, (path.rpartition("/")[2], context.read_file(path))) for path in input_data.files
        ]
        return {"files": files, "data": body or {}}
    match body:
        case None:
            return {}
        case str() if not input_data.json_format:
            return {"content": body}
        case str():
            return {"json": _json_or_text(body)}
        case dict() if not input_data.json_format:
            return {"data": body}
        case _:
            return {"json": body}


def _pin(response: WebResponse) -> str:
    match response.status // 100:
        case 2:
            return "response"
        case 4:
            return "client_error"
        case 5:
            return "server_error"
        case _:
            raise BlockError(f"the server answered with status {response.status}")


def _json_or_text(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return text
