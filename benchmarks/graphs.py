"""The graphs that are measured, as a client posts them."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

_ADD_ONE = {"operation": "Add", "b": 1}


def chain(length: int) -> Document:
    """Calculators in a row, each adding one to what the one before it sent."""
    nodes = [_node(i, "CalculatorBlock", _ADD_ONE) for i in range(length)]
    nodes[0]["input_default"] = {"a": 0, **_ADD_ONE}
    links = [_link(i, i, "result", i + 1, "a") for i in range(length - 1)]
    return {"name": f"chain of {length}", "nodes": nodes, "links": links}


def fan(width: int) -> Document:
    """One node that feeds many, which all feed one."""
    last = width + 1
    nodes = [_node(i, "CalculatorBlock", _ADD_ONE) for i in range(last)]
    nodes[0]["input_default"] = {"a": 0, **_ADD_ONE}
    nodes.append(_node(last, "AddToListBlock", {}))
    out = [_link(i, 0, "result", i, "a") for i in range(1, last)]
    back = [_link(width + i, i, "result", last, f"entries_$_{i}") for i in range(1, last)]
    return {"name": f"1 -> {width} -> 1", "nodes": nodes, "links": out + back}


def loop(node_executions: int) -> Document:
    """Two nodes that feed each other until a condition ends it, started by a third."""
    nodes = [
        _node(0, "CalculatorBlock", {"a": 0, **_ADD_ONE}),
        _node(1, "CalculatorBlock", _ADD_ONE),
        _node(2, "ConditionBlock", {"operator": "<", "value2": node_executions // 2}),
    ]
    links = [
        _link(0, 0, "result", 1, "a"),
        _link(1, 1, "result", 2, "value1"),
        _link(2, 2, "yes_output", 1, "a"),
    ]
    return {"name": f"loop of {node_executions}", "nodes": nodes, "links": links}


def wait(seconds: float) -> Document:
    """One node that waits."""
    return {"name": f"wait {seconds:g} s", "nodes": [_node(0, "WaitBlock", {"seconds": seconds})], "links": []}


def _node(number: int, block: str, defaults: dict[str, Any]) -> Document:
    return {"id": _id(1, number), "block_name": block, "input_default": defaults}


def _link(number: int, source: int, source_pin: str, sink: int, sink_pin: str) -> Document:
    return {
        "id": _id(2, number),
        "source_id": _id(1, source),
        "source_name": source_pin,
        "sink_id": _id(1, sink),
        "sink_name": sink_pin,
    }


def _id(kind: int, number: int) -> str:
    return f"0000000{kind}-0000-4000-8000-{number:012d}"
