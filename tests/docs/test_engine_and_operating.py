"""The pages about the engine and its operation name only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autogpt_server.settings import Settings
from autogpt_server.telemetry.measures import COUNTERS, HISTOGRAMS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "autogpt_server"
ENGINE = (ROOT / "docs" / "engine.md").read_text()
OPERATING = (ROOT / "docs" / "operating.md").read_text()
SOURCE = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))


def test_every_file_that_the_page_names_exists() -> None:
    files = set(re.findall(r"[\w/]+\.py", ENGINE))
    assert len(files) > 15
    assert [file for file in files if not (PACKAGE / file).is_file()] == []


def test_every_name_that_the_page_mentions_is_one_of_the_code() -> None:
    names = {name for name in re.findall(r"`([\w.]+?)s?`", ENGINE) if not name.endswith(".py")}
    assert len(names) > 10
    for name in names:
        for part in name.split("."):
            assert re.search(rf"\b{part}s?\b", SOURCE), name


def test_what_the_page_says_is_in_a_file_is_there() -> None:
    # "`Name` in `file.py`", also over the end of a line
    pairs = re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", ENGINE)
    assert len(pairs) > 6
    for name, file in pairs:
        assert re.search(rf"(class|def) {name}\b", (PACKAGE / file).read_text()), (name, file)


def test_tables_of_the_diagram_are_tables() -> None:
    tables = re.findall(r"\[\((\w+)\)\]", ENGINE)
    assert tables
    schema = (ROOT / "schema.prisma").read_text()
    assert all(f"model {table} " in schema for table in tables)


def test_the_list_of_metrics_is_complete_and_names_no_other() -> None:
    listed = set(re.findall(r"^\| `(autogpt_\w+)`", OPERATING, re.MULTILINE))
    counted = {f"{counter.name}_total" for counter in COUNTERS} | {histogram.name for histogram in HISTOGRAMS}
    measured = set(re.findall(r'GaugeMetricFamily\(\s*"(autogpt_\w+)"', SOURCE))
    assert listed == counted | measured


def test_labels_are_those_that_are_counted() -> None:
    for measure in (*COUNTERS, *HISTOGRAMS):
        row = re.search(rf"^\| `{measure.name}(?:_total)?` \| ([^|]*)\|", OPERATING, re.MULTILINE)
        assert row is not None
        assert tuple(filter(None, row[1].strip().split(", "))) == measure.labels


@pytest.mark.parametrize("page", [ENGINE, OPERATING])
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    fields = {f"AUTOGPT_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"`(AUTOGPT_\w+)`", page)) <= fields


@pytest.mark.parametrize("page", ["engine.md", "operating.md"])
def test_links_lead_somewhere(page: str) -> None:
    folder = ROOT / "docs"
    links = re.findall(r"\]\(([^)#:]+)\)", (folder / page).read_text())
    assert all((folder / link).exists() for link in links)
