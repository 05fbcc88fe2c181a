"""Values, numbers, lists, files and time: what the samples do not show."""

import asyncio
import time

import pytest

from autogpt_server.blocks.data import FindInDictionaryBlock, JsonParseBlock, ListIteratorBlock
from autogpt_server.blocks.files import ReadFileBlock, WriteFileBlock
from autogpt_server.blocks.graph_io import AgentInputBlock
from autogpt_server.blocks.logic import ConditionBlock
from autogpt_server.blocks.maths import CalculatorBlock
from autogpt_server.blocks.samples import SampleContext
from autogpt_server.blocks.sampling import DataSamplingBlock
from autogpt_server.blocks.spreadsheets import ReadCsvBlock
from autogpt_server.blocks.timing import CurrentTimeBlock, WaitBlock
from autogpt_server.blocks.values import PrintToConsoleBlock
from autogpt_server.errors import BlockError


async def test_printing_writes_to_the_log(context: SampleContext) -> None:
    await PrintToConsoleBlock().execute({"text": {"a": "ü"}}, context)
    assert context.logged == ['{"a":"ü"}']


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"operation": "Divide", "a": 1, "b": 0}, "divided by zero"),
        ({"operation": "Power", "a": 0, "b": -1}, "divided by zero"),
        ({"operation": "Power", "a": 10, "b": 10**9}, "too large"),
        ({"operation": "Power", "a": 10.0, "b": 1000}, "too large"),
        ({"operation": "Multiply", "a": 1e308, "b": 10}, "too large"),
        ({"operation": "Multiply", "a": 10**2000, "b": 10**2000}, "too large"),
        ({"operation": "Power", "a": -8, "b": 0.5}, "no real number"),
        ({"operation": "Modulo", "a": 1, "b": 1}, "operation"),
        ({"operation": "Add", "a": "one", "b": 1}, "a"),
    ],
)
async def test_what_cannot_be_calculated_is_said_clearly(
    data: dict[str, object], message: str, context: SampleContext
) -> None:
    with pytest.raises(BlockError, match=message):
        await CalculatorBlock().execute(data, context)


@pytest.mark.parametrize(("a", "b", "kind"), [(8, 34, int), ("8", 34, int), (8.0, 34, float), ("8", "34", int)])
async def test_whole_numbers_stay_whole(a: object, b: object, kind: type, context: SampleContext) -> None:
    [(_, result)] = await CalculatorBlock().execute({"operation": "Add", "a": a, "b": b}, context)
    assert result == 42
    assert type(result) is kind


@pytest.mark.parametrize(
    ("left", "sign", "right", "result"),
    [
        ("10", ">", "9", True),
        ("b", ">", "a", True),
        (None, "==", None, True),
        ("1.0", "==", 1, True),
        ({"a": 1}, "!=", {"a": 2}, True),
        (2**60 + 1, "==", str(2**60), False),
        ("nan", "==", "nan", True),
        ("1_0", "==", "10", False),
        (" 1e3 ", "==", "1000.0", True),
    ],
)
async def test_comparing(left: object, sign: str, right: object, result: bool, context: SampleContext) -> None:
    pairs = await ConditionBlock().execute({"value1": left, "operator": sign, "value2": right}, context)
    assert pairs[0] == ("result", result)


async def test_what_cannot_be_compared_is_said_clearly(context: SampleContext) -> None:
    with pytest.raises(BlockError, match="cannot compare list < int"):
        await ConditionBlock().execute({"value1": [], "operator": "<", "value2": 1}, context)


async def test_an_input_takes_no_value_beyond_its_choices(context: SampleContext) -> None:
    data = {"name": "Size", "value": "XL", "placeholder_values": ["S", "M"], "limit_to_placeholder_values": True}
    with pytest.raises(BlockError, match="must be one of: S, M"):
        await AgentInputBlock().execute(data, context)


async def test_looking_up_in_what_holds_nothing_is_missing(context: SampleContext) -> None:
    for holder in (None, 3, "no json", [], {}):
        assert await FindInDictionaryBlock().execute({"input": holder, "key": "a"}, context) == [("missing", holder)]


async def test_wrong_json_names_its_place(context: SampleContext) -> None:
    with pytest.raises(BlockError, match="no JSON.*line 1 column 6"):
        await JsonParseBlock().execute({"text": '{"a":}'}, context)
    with pytest.raises(BlockError, match="neither a list nor an object"):
        await ListIteratorBlock().execute({"items_str": "3"}, context)


async def test_csv_from_a_file_with_a_byte_order_mark_and_uneven_rows(context: SampleContext) -> None:
    context.write_file("t.csv", "\ufeffname;n\n  Ä ;1;x\n\nb\n".encode())
    pairs = await ReadCsvBlock().execute({"path": "t.csv", "delimiter": ";"}, context)
    assert pairs[-1] == ("rows", [{"name": "Ä", "n": "1", "2": "x"}, {"name": "b"}])


async def test_csv_keeps_spaces_backslashes_and_skips_rows_when_told(context: SampleContext) -> None:
    data = {"contents": "a\nx\n C:\\new \n", "strip": False, "skip_rows": 1}
    assert (await ReadCsvBlock().execute(data, context))[0] == ("row", {"a": " C:\\new "})
    assert await ReadCsvBlock().execute({"contents": ""}, context) == [("all_data", []), ("rows", [])]


async def test_csv_yields_only_the_pins_that_are_asked_for(context: SampleContext) -> None:
    assert await ReadCsvBlock().execute({"contents": "a\n1", "outputs": ["row"]}, context) == [("row", {"a": "1"})]


async def test_csv_without_a_source_or_in_another_encoding_is_refused(context: SampleContext) -> None:
    with pytest.raises(BlockError, match="neither"):
        await ReadCsvBlock().execute({}, context)
    context.write_file("t.csv", "ä".encode("latin-1"))
    with pytest.raises(BlockError, match="no text in utf-8"):
        await ReadCsvBlock().execute({"path": "t.csv"}, context)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd"])
async def test_files_go_through_the_context(path: str, context: SampleContext) -> None:
    with pytest.raises(BlockError, match="leaves the user's folder"):
        await ReadFileBlock().execute({"path": path}, context)
    with pytest.raises(BlockError, match="leaves the user's folder"):
        await WriteFileBlock().execute({"path": path, "content": "x"}, context)
    with pytest.raises(BlockError, match="leaves the user's folder"):
        await ReadCsvBlock().execute({"path": path}, context)


async def test_unknown_encodings_are_refused(context: SampleContext) -> None:
    for encoding, content in (("klingon", "x"), ("ascii", "ü"), ("base64", "?")):
        with pytest.raises(BlockError, match=encoding):
            await WriteFileBlock().execute({"path": "a", "content": content, "encoding": encoding}, context)


ITEMS = [{"id": n, "group": "ab"[n % 4 == 0], "weight": n} for n in range(20)]


@pytest.mark.parametrize(
    "method", ["random", "systematic", "top", "bottom", "stratified", "weighted", "reservoir", "cluster"]
)
async def test_a_sample_has_its_size_and_is_the_same_in_every_attempt(method: str, context: SampleContext) -> None:
    data = {
        "data": ITEMS,
        "sample_size": 8,
        "sampling_method": method,
        "stratify_key": "group",
        "weight_key": "weight",
        "cluster_key": "group",
    }
    pairs = await DataSamplingBlock().execute(data, context)
    assert pairs == await DataSamplingBlock().execute(data, context)
    (_, sample), (_, indices) = pairs
    assert len(sample) == 8
    assert sample == [ITEMS[index] for index in indices]
    if method == "stratified":
        assert sum(item["group"] == "b" for item in sample) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_size": 3}, "from 2 items"),
        ({"accumulate": True}, "AddToListBlock"),
        ({"sampling_method": "stratified"}, "stratify_key"),
        ({"sampling_method": "weighted", "weight_key": "w"}, "no number"),
        ({"sampling_method": "cluster", "cluster_key": "k"}, "item 0 has no 'k'"),
    ],
)
async def test_a_wrong_sample_is_refused(changes: dict[str, object], message: str, context: SampleContext) -> None:
    data = {"data": [{"w": "x"}, {"w": 1}], "sample_size": 1} | changes
    with pytest.raises(BlockError, match=message):
        await DataSamplingBlock().execute(data, context)


async def test_the_time_of_an_unknown_zone_is_refused(context: SampleContext) -> None:
    for zone in ("Mars/Olympus", "../../etc/passwd", ""):
        with pytest.raises(BlockError, match="time zone"):
            await CurrentTimeBlock().execute({"timezone": zone}, context)


async def test_the_time_in_the_form_of_exports(context: SampleContext) -> None:
    form = {"discriminator": "iso8601", "timezone": "Asia/Tokyo", "include_microseconds": False}
    pairs = dict(await CurrentTimeBlock().execute({"trigger": "x", "format_type": form}, context))
    assert pairs["time"].startswith("T") and pairs["time"].endswith("+09:00")


async def test_waiting_ends_soon_when_the_execution_is_stopped(context: SampleContext) -> None:
    started = time.monotonic()
    waiting = asyncio.create_task(WaitBlock().execute({"hours": 1}, context))
    await asyncio.sleep(0)
    context.cancelled = True
    assert await asyncio.wait_for(waiting, 5) == []
    assert time.monotonic() - started < 1


async def test_a_wait_has_a_longest_time(context: SampleContext) -> None:
    with pytest.raises(BlockError, match="366 days"):
        await WaitBlock().execute({"days": 367}, context)
