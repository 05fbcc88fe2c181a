"""Reads a graph's JSON field by field.  Whatever it holds, reading ends with values of the right types and a list of
problems; what the values mean is not looked at here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from autogpt_server.errors import Problem
from autogpt_server.model.ids import canonical_id, new_id
from autogpt_server.model.jsonvalue import JsonValueError, plain, storable_text
from autogpt_server.model.misfits import misfits
from autogpt_server.model.policy import GraphPolicy, NodePolicy
from autogpt_server.model.suggestions import Suggestions, short

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Json = dict[str, Any]

#: Greatest version number that the database holds.
_MAX_VERSION = 2**31 - 1

_GRAPH_FIELDS = {
    *("id", "version", "name", "description", "is_active", "is_template", "policy"),
    *("nodes", "links", "sub_graphs"),
}
_NODE_FIELDS = {"id", "block_id", "block_name", "input_default", "metadata", "policy", "input_links", "output_links"}
_LINK_FIELDS = {"id", "source_id", "source_name", "sink_id", "sink_name", "is_static"}
#: Fields by which an export is told from a graph in our own form.
_EXPORT_GRAPH_MARKS = {
    *("input_schema", "output_schema", "credentials_input_schema"),
    *("sub_graphs", "user_id", "forked_from_id"),
}
_EXPORT_NODE_MARKS = {"input_links", "output_links", "webhook_id", "graph_version"}
#: What exports add that is known to mean nothing for executing them here.
_SILENT_GRAPH_FIELDS = {*_EXPORT_GRAPH_MARKS, "forked_from_version", "created_at", "updated_at"}
_SILENT_NODE_FIELDS = {"graph_id", "graph_version"}


@dataclass(slots=True)
class NodeFields:
    """A node as it was written; an id that was left out has been made."""

    place: str
    id: str
    block_id: str
    block_name: str
    input_default: Json
    metadata: Json
    policy: NodePolicy


@dataclass(slots=True)
class LinkFields:
    """A link as it was written; an id that was left out has been made."""

    place: str
    id: str
    source_id: str
    source_name: str
    sink_id: str
    sink_name: str
    is_static: bool
    #: It stands inside a node, not in the graph's list.
    is_inner: bool = False

    @property
    def ends(self) -> tuple[str, str, str, str]:
        return self.source_id, self.source_name, self.sink_id, self.sink_name


@dataclass(slots=True)
class GraphFields:
    """A graph as it was written."""

    place: str
    is_export: bool
    id: str
    version: int
    name: str
    description: str
    is_active: bool
    is_template: bool
    policy: GraphPolicy
    nodes: list[NodeFields]
    links: list[LinkFields]


@dataclass(slots=True)
class Findings:
    """What was found while reading: problems, and warnings once per kind."""

    problems: list[Problem] = field(default_factory=list[Problem])
    warnings: dict[str, Problem] = field(default_factory=dict[str, Problem])
    #: Knows what was meant by the unknown names of the whole document.
    suggest: Suggestions = field(default_factory=Suggestions)

    def problem(self, path: str, message: str, fix: str) -> None:
        self.problems.append(Problem(path, message, fix))

    def warn_unknown(self, what: str, key: str, place: str, known: Iterable[str] = ()) -> None:
        """Warn of a field that is ignored, once per kind; ``known`` holds what may have been meant."""
        name = short(key)
        kind, fix = f"{what}.{name}", None
        if kind not in self.warnings:
            fix = self.suggest(key, known) if known else None
        self.warn(kind, _at(place, name), f"the field {name!r} of a {what} is unknown and ignored", fix)

    def warn(self, kind: str, path: str, message: str, fix: str | None = None) -> None:
        self.warnings.setdefault(kind, Problem(path, message, fix))


def read_graph(raw: Json, place: str, findings: Findings) -> GraphFields:
    """Read a graph; ``sub_graphs`` are left to the caller."""
    raw_nodes = _list(raw, "nodes", place, findings, required=True)
    is_export = not _EXPORT_GRAPH_MARKS.isdisjoint(raw) or any(map(_is_exported_node, raw_nodes))
    head = {key: value for key, value in raw.items() if key not in ("nodes", "links", "sub_graphs")}
    head = _clean_object(head, place, findings)
    reader = _Fields(head, place, findings)
    fields = GraphFields(
        place=place,
        is_export=is_export,
        id=reader.id("id") or new_id(),
        version=reader.version(),
        name=reader.text("name") or "Unnamed graph",
        description=reader.text("description"),
        is_active=reader.flag("is_active", default=True),
        is_template=reader.flag("is_template", default=False),
        policy=reader.policy(GraphPolicy),
        nodes=[],
        links=_read_links(_list(raw, "links", place, findings), _at(place, "links"), findings, is_inner=False),
    )
    reader.warn_unknown(_GRAPH_FIELDS | _SILENT_GRAPH_FIELDS, "graph", is_export)
    for i, item in enumerate(raw_nodes):
        _read_node(item, f"{_at(place, 'nodes')}[{i}]", fields, findings)
    return fields


def _is_exported_node(raw: Any) -> bool:
    return isinstance(raw, dict) and not _EXPORT_NODE_MARKS.isdisjoint(cast(Json, raw))


def _read_node(raw: Any, place: str, graph: GraphFields, findings: Findings) -> None:
    if not isinstance(raw, dict):
        findings.problem(place, f"is {_kind(raw)}, not an object", "a node is an object with id and block_name")
        return
    node = _clean_object(cast(Json, raw), place, findings)
    reader = _Fields(node, place, findings)
    graph.nodes.append(
        NodeFields(
            place=place,
            id=reader.id("id") or new_id(),
            block_id=reader.text("block_id"),
            block_name=reader.text("block_name"),
            input_default=reader.object("input_default"),
            metadata=reader.object("metadata"),
            policy=reader.policy(NodePolicy),
        )
    )
    for key in ("input_links", "output_links"):
        items = _list(node, key, place, findings)
        graph.links += _read_links(items, f"{place}.{key}", findings, is_inner=True)
    reader.warn_unknown(_NODE_FIELDS | _SILENT_NODE_FIELDS, "node", graph.is_export)


def _read_links(items: list[Any], place: str, findings: Findings, *, is_inner: bool) -> list[LinkFields]:
    links: list[LinkFields] = []
    for i, raw in enumerate(items):
        path = f"{place}[{i}]"
        if not isinstance(raw, dict):
            findings.problem(path, f"is {_kind(raw)}, not an object", "a link is an object with its two ends")
            continue
        reader = _Fields(_clean_object(cast(Json, raw), path, findings), path, findings)
        links.append(
            LinkFields(
                place=path,
                id=reader.id("id") or new_id(),
                source_id=reader.id("source_id", required=True),
                source_name=reader.text("source_name", required=True),
                sink_id=reader.id("sink_id", required=True),
                sink_name=reader.text("sink_name", required=True),
                is_static=reader.flag("is_static", default=False),
                is_inner=is_inner,
            )
        )
        reader.warn_unknown(_LINK_FIELDS, "link", False)
    return links


class _Fields:
    """The fields of one object, read by type.  Null counts as left out."""

    def __init__(self, raw: Json, place: str, findings: Findings) -> None:
        self._raw, self._place, self._findings = raw, place, findings

    def text(self, key: str, *, required: bool = False) -> str:
        value = self._raw.get(key)
        if required and (value is None or value == ""):
            self._findings.problem(_at(self._place, key), "is missing", "every link names both nodes and both pins")
        return self._typed(key, value, str, "", "a text")

    def id(self, key: str, *, required: bool = False) -> str:
        return canonical_id(self.text(key, required=required))

    def flag(self, key: str, *, default: bool) -> bool:
        return self._typed(key, self._raw.get(key), bool, default, "true or false")

    def object(self, key: str) -> Json:
        return cast(Json, self._typed(key, self._raw.get(key), dict, {}, "an object"))

    def policy(self, cls: type[M]) -> M:
        try:
            return cls.model_validate(self.object("policy"))
        except ValidationError as error:
            place = _at(self._place, "policy")
            self._findings.problems += misfits(error.errors(include_url=False), prefix=place, model=cls)
            return cls()

    def version(self) -> int:
        value = self._raw.get("version")
        if isinstance(value, bool) or (isinstance(value, int) and not 0 < value <= _MAX_VERSION):
            value = "wrong"
        return self._typed("version", value, int, 1, f"a whole number from 1 to {_MAX_VERSION}")

    def warn_unknown(self, known: set[str], what: str, is_export: bool) -> None:
        for key, value in self._raw.items():
            # Exports list everything that another server knows; only what is in use there is worth a word.
            if key not in known and (value or not is_export):
                self._findings.warn_unknown(what, key, self._place, () if is_export else known)

    def _typed(self, key: str, value: Any, kind: type[T], default: T, wanted: str) -> T:
        if value is None or isinstance(value, kind):
            return default if value is None else value
        self._findings.problem(_at(self._place, key), f"is {_kind(value)}, but must be {wanted}", f"give {wanted}")
        return default


def _clean_object(raw: Json, place: str, findings: Findings) -> Json:
    """Return the fields that can be stored; the others become problems."""
    clean: Json = {}
    for key, value in raw.items():
        name = _checked(lambda key=key: plain(key), storable_text(short(key)), place, findings)
        if name is not None:
            clean[name] = _checked(lambda value=value: plain(value), short(name), place, findings)
    return clean


def _checked(read: Callable[[], Any], key: str, place: str, findings: Findings) -> Any:
    try:
        return read()
    except JsonValueError as error:
        error = error.inside(key)
        findings.problem(_at(place, error.place), error.reason, error.fix)
        return None


def _list(raw: Json, key: str, place: str, findings: Findings, *, required: bool = False) -> list[Any]:
    value = raw.get(key)
    if isinstance(value, list):
        return cast(list[Any], value)
    if value is not None:
        findings.problem(_at(place, key), f"is {_kind(value)}, but must be a list", "give a list")
    elif required:
        findings.problem(_at(place, key), "is missing", "a graph has a list of nodes and a list of links")
    return []


def _at(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
