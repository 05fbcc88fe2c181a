"""What ``autogpt run`` does: find a server, store the graph where needed, start it, follow it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autogpt_server.cli.client import ServerClient, is_local, server_url
from autogpt_server.cli.follow import follow, print_outcome
from autogpt_server.cli.graph_file import GraphFile, read_graph_file, same_content
from autogpt_server.cli.private_server import PrivateServer, data_folder_is_served, key_for_now
from autogpt_server.cli.screen import note, out, print_json, print_warnings
from autogpt_server.cli.user_file import copy_files, parse_file
from autogpt_server.errors import InvalidError, NotFoundError, Problem, Unavailable
from autogpt_server.model.graph import Graph
from autogpt_server.model.ids import is_uuid
from autogpt_server.settings import Settings

#: Exit code of a command that Ctrl-C ended.
_INTERRUPTED = 130


@dataclass(frozen=True)
class RunRequest:
    """What was asked for on the command line."""

    target: str
    inputs: dict[str, Any]
    files: tuple[str, ...]
    version: int | None
    priority: int | None
    key: str | None
    follow: bool
    as_json: bool
    url: str | None


@dataclass(frozen=True)
class _Server:
    client: ServerClient
    #: Whether it stops with this command.
    is_private: bool


def run_graph(request: RunRequest) -> int:
    """Execute a graph and return the command's exit code.

    Raises:
        InvalidError: The graph, its inputs or a file were refused.
        Unavailable: No server can be reached.
    """
    settings = Settings()
    # All that can be wrong here is found before a server is started or asked.
    graph_file = _read_target(request, settings)
    files = [parse_file(argument) for argument in request.files]
    with _server(settings, request.url) as server:
        if files:
            _check_shares_data_folder(server, settings)
            copy_files(files, settings, server.client.get("/me")["user"]["id"])
        graph_id = _store(server.client, graph_file) if graph_file else request.target
        started = server.client.post(
            f"/graphs/{graph_id}/execute",
            request.inputs,
            key=request.key,
            version=request.version,
            priority=request.priority,
        )
        if not request.follow and not server.is_private:
            _print_started(started, request)
            return 0
        return _follow_to_end(server, started["id"], request)


def _read_target(request: RunRequest, settings: Settings) -> GraphFile | None:
    path = Path(request.target)
    if path.is_file() or request.target == "-":
        if request.version is not None:
            raise InvalidError(
                "Bad usage.", [Problem("--version", "goes with the id of a stored graph, not with a file")]
            )
        graph_file = read_graph_file(path, settings)
        print_warnings(graph_file.parsed.warnings)
        return graph_file
    if not is_uuid(request.target):
        problem = Problem("FILE_OR_ID", f"{request.target!r} is neither a file nor the id of a graph")
        raise InvalidError("Bad usage.", [problem])
    return None


@contextmanager
def _server(settings: Settings, url: str | None) -> Generator[_Server]:
    """Give the server at the address, or a private one where nothing answers on this machine."""
    address = server_url(settings, url)
    with ExitStack() as stack:
        client = stack.enter_context(ServerClient(address, settings.api_key))
        is_private = client.health() is None
        if is_private:
            # An address that was asked for by name is the one that was meant.
            if url is not None or not is_local(address):
                raise Unavailable(f"No server answers at {address}.")
            private = PrivateServer(settings)
            note(f"No server answers at {address}: starting one for this run (its log: {private.log_path})")
            url = stack.enter_context(private).url
            client = stack.enter_context(ServerClient(url, stack.enter_context(key_for_now(settings))))
        yield _Server(client, is_private)


def _check_shares_data_folder(server: _Server, settings: Settings) -> None:
    if server.is_private or (is_local(server.client.url) and data_folder_is_served(settings)):
        return
    raise InvalidError(
        "Bad usage.",
        [
            Problem(
                "--file",
                f"the server at {server.client.url} does not use the data folder {settings.data_dir}",
                "set AUTOGPT_DATA_DIR as the server has it, or put the file there by other means",
            )
        ],
    )


def _store(client: ServerClient, graph_file: GraphFile) -> str:
    """Store a graph, unless the server's active versions of it and its sub-graphs say the same; returns its id."""
    parsed = graph_file.parsed
    if not all(_is_stored(client, graph) for graph in (parsed.graph, *parsed.sub_graphs)):
        client.post("/graphs", graph_file.document)
    return parsed.graph.id


def _is_stored(client: ServerClient, graph: Graph) -> bool:
    try:
        return same_content(Graph.model_validate(client.get(f"/graphs/{graph.id}")), graph)
    except NotFoundError:
        return False


def _print_started(started: dict[str, Any], request: RunRequest) -> None:
    if request.as_json:
        print_json(started)
    else:
        out.print(started["id"])
        note(f"It is {started['status']}; look at it with: autogpt execution show {started['id']}")


def _follow_to_end(server: _Server, execution_id: str, request: RunRequest) -> int:
    try:
        execution = follow(server.client, execution_id, quiet=request.as_json or not request.follow)
    except KeyboardInterrupt:
        goes_on = "goes on when a server runs here again (autogpt serve)" if server.is_private else "goes on"
        note(f"\nStopped looking; the execution {goes_on}. See it with: autogpt execution show {execution_id}")
        return _INTERRUPTED
    if request.as_json:
        print_json(execution)
    else:
        print_outcome(execution)
    return 0 if execution["status"] == "COMPLETED" else 1
