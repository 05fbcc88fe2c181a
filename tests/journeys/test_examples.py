"""Each example, posted over HTTP and executed by real processes, against figures computed here in another way."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autogpt_server.model.ids import DEFAULT_USER_ID

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(path: str) -> dict:
    return json.loads((EXAMPLES / path).read_text(encoding="utf-8"))


def node_ends(server, execution: dict) -> Counter[str]:
    """How often each node ended, by its title."""
    graph = server.client.get(f"/graphs/{execution['graph_id']}")
    titles = {node["id"]: node["metadata"]["title"] for node in graph["nodes"]}
    ends: Counter[str] = Counter()
    cursor = None
    while True:
        page = server.client.get(f"/executions/{execution['id']}", limit=500, cursor=cursor)["node_executions"]
        ends.update(titles[one["node_id"]] for one in page["items"] if one["status"] == "COMPLETED")
        cursor = page["next_cursor"]
        if cursor is None:
            return ends


def test_hello_combines_and_prints(server):
    execution = server.execute(example("hello.json"), {})

    assert execution["status"] == "COMPLETED"
    assert execution["outputs"] == {"greeting": ["Hello, World!"]}
    assert node_ends(server, execution) == {"Greeting": 1, "Name": 1, "Combine": 1, "Print": 1, "Output": 1}


@pytest.mark.parametrize("status", ["delivered", "returned"])
def test_the_sales_report_adds_up_every_row(server, status):
    # given the orders, and their sums computed without a graph
    folder = server.data_dir / "files" / DEFAULT_USER_ID
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(EXAMPLES / "sales_report" / "orders.csv", folder)
    expected: Counter[str] = Counter()
    with (folder / "orders.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        bucket = row["region"] if row["status"] == status else "Not counted"
        expected[bucket] += int(row["quantity"]) * float(row["unit_price"])
    assert len(rows) >= 1000

    # when
    execution = server.execute(example("sales_report/graph.json"), {"status": status, "report": f"reports/{status}.md"})

    # then
    assert execution["status"] == "COMPLETED", execution["error"]
    [revenue] = execution["outputs"]["revenue"]
    assert revenue == pytest.approx(expected)
    report = (folder / "reports" / f"{status}.md").read_text(encoding="utf-8")
    assert execution["outputs"]["report"] == [report]
    assert f"{len(rows)} orders read; those that are *{status}* count." in report
    for region in ("North", "South", "West", "East"):
        assert f"| {region} | {expected[region]:.2f} € |" in report
    ends = node_ends(server, execution)
    assert ends["Quantity × price"] == ends["Put total back"] == ends["Was that the last?"] == len(rows)
    assert ends["First of its region: 0"] == len(expected)


@pytest.fixture
def feed_url() -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    feeds = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(EXAMPLES / "news_digest")))
    thread = threading.Thread(target=feeds.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{feeds.server_port}/feed.xml"
    feeds.shutdown()
    feeds.server_close()
    thread.join()


def test_the_news_digest_holds_the_entries_that_match_in_their_order(server, feed_url):
    execution = server.execute(example("news_digest/graph.json"), {"feed": feed_url})

    assert execution["status"] == "COMPLETED", execution["error"]
    [digest] = execution["outputs"]["digest"]
    lines = digest.splitlines()
    assert lines[0] == "# News about wind, solar, energy"
    assert [line.split("](")[0] for line in lines[2:]] == [
        "- [Wind farm off the coast delivers its first power",
        "- [Council votes on the new swimming pool",
        "- [Harbour gets charging points for electric boats",
    ]
    assert "<b>" not in digest


def test_a_digest_of_nothing_says_so(server, feed_url):
    execution = server.execute(example("news_digest/graph.json"), {"feed": feed_url, "keywords": "volcano"})

    assert execution["outputs"] == {"digest": ["# News about volcano\n\nNone of the 10 entries matches.\n"]}


def test_a_feed_that_is_away_fails_the_execution_and_names_the_node(server, feed_url):
    missing = feed_url.replace("feed.xml", "nothing.xml")

    execution = server.execute(example("news_digest/graph.json"), {"feed": missing})

    assert execution["status"] == "FAILED"
    assert "ReadRSSFeedBlock" in execution["error"]
    assert "404" in execution["error"]
