"""Runs a chain of nodes with LangGraph and its SqliteSaver, in an environment of its own; prints nodes a second.

python langgraph_chain.py DATABASE EXECUTIONS NODES
"""

# Its packages are not installed where types are checked.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import sqlite3
import sys
import time
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    a: int


def main(database: str, executions: int, nodes: int) -> None:
    connection = sqlite3.connect(database, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    builder: Any = StateGraph(State)
    names = [f"n{i}" for i in range(nodes)]
    for name in names:
        builder.add_node(name, lambda state: {"a": state["a"] + 1})
    for source, sink in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, sink)
    graph = builder.compile(checkpointer=SqliteSaver(connection))
    # A checkpoint is written before the next node starts.
    run: Any = lambda i: graph.invoke({"a": 0}, {"configurable": {"thread_id": str(i)}}, durability="sync")  # noqa: E731
    run("warm")
    began = time.perf_counter()
    for i in range(executions):
        assert run(i)["a"] == nodes
    print(executions * nodes / (time.perf_counter() - began))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
