"""What holds for every built-in block."""

import json
import re
from pathlib import Path

import pytest

from autogpt_server.blocks.registry import BLOCKS, load_registry
from autogpt_server.blocks.samples import SampleContext, run_samples
from autogpt_server.errors import InvalidError
from autogpt_server.model.block import EXECUTOR_BLOCK, INPUT_BLOCK, OUTPUT_BLOCK, Block, BlockSchema
from autogpt_server.model.ids import is_uuid

BY_NAME = {cls.__name__: cls() for cls in BLOCKS}

#: Saved graphs and exports refer to these: an entry never changes, and an alias never goes.
IDS_AND_ALIASES = {
    "ValueBlock": ("1ff065e9-88e8-4358-9d82-8dc91f622ba9", ["ParrotBlock", "ConstantBlock", "StoreValueBlock"]),
    "PrintToConsoleBlock": ("f3b1c1b2-4c4f-4f0d-8d2f-4c4f0d8d2f4c", ["PrintingBlock"]),
    "AgentInputBlock": (
        "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b",
        [
            "InputBlock",
            "AgentShortTextInputBlock",
            "7fcd3bcb-8e1b-4e69-903d-32d3d4a92158",
            "AgentLongTextInputBlock",
            "90a56ffb-7024-4b2b-ab50-e26c5e5ab8ba",
            "AgentNumberInputBlock",
            "96dae2bb-97a2-41c2-bd2f-13a3b5a8ea98",
            "AgentDateInputBlock",
            "7e198b09-4994-47db-8b4d-952d98241817",
            "AgentTimeInputBlock",
            "2a1c757e-86cf-4c7e-aacf-060dc382e434",
            "AgentDropdownInputBlock",
            "655d6fdf-a334-421c-b733-520549c07cd1",
            "AgentToggleInputBlock",
            "cbf36ab5-df4a-43b6-8a7f-f7ed8652116e",
            "AgentTableInputBlock",
            "5603b273-f41e-4020-af7d-fbc9c6a8d928",
        ],
    ),
    "AgentOutputBlock": ("363ae599-353e-4804-937e-b2ee3cef3da4", ["OutputBlock"]),
    "AgentExecutorBlock": ("e189baac-8c20-45a1-94a7-55177ea42565", ["ExecuteGraphBlock"]),
    "TextCombinerBlock": ("db7d8f02-2f44-4c55-ab7a-eae0941f0c30", []),
    "CombineTextsBlock": ("e30a4d42-7b7d-4e6a-b36e-1f9b8e3b7d85", []),
    "TextFormatterBlock": ("5095388c-d680-4c1f-aa06-1096deb24c2b", ["FillTextTemplateBlock"]),
    "TextSplitBlock": ("d5ea33c8-a575-477a-b42f-2fe3be5055ec", []),
    "MatchTextPatternBlock": ("3060088f-6ed9-4928-9ba7-9c92823a7ccd", ["TextMatcherBlock"]),
    "FindInDictionaryBlock": (
        "0e50422c-6dee-4145-83d6-3a5a392f65de",
        ["b2g2c3d4-5e6f-7g8h-9i0j-k1l2m3n4o5p6", "ObjectLookupBlock", "ObjectLookup"],
    ),
    "AddToDictionaryBlock": ("31d1064e-7446-4693-a7d4-65e5ca1180d1", ["DictionaryAddEntryBlock"]),
    "AddToListBlock": ("aeb08fc1-2fc1-4141-bc8e-f758f183a822", ["ListAddEntryBlock"]),
    "ListIteratorBlock": (
        "f66a3543-28d3-4ab5-8945-9b336371e2ce",
        ["f8e7d6c5-b4a3-2c1d-0e9f-8g7h6i5j4k3l", "StepThroughItemsBlock", "ForEachBlock"],
    ),
    "JsonParseBlock": ("ba6bcca8-f02c-47f8-8d43-23bac20da587", []),
    "JsonFormatBlock": ("13ff625b-1c7e-4ce1-b798-fc08162d1ea1", []),
    "DataSamplingBlock": ("4a448883-71fa-49cf-91cf-70d793bd7d87", []),
    "ReadCsvBlock": ("acf7625e-d2cb-4941-bfeb-2819fc6fc015", ["ReadSpreadsheetBlock"]),
    "CalculatorBlock": ("b1ab9b19-67a6-406d-abf5-2dba76d00c79", ["MathsBlock"]),
    "CounterBlock": ("3c9c2f42-b0c3-435f-ba35-05f7a25c772a", ["CountItemsBlock"]),
    "ConditionBlock": ("715696a0-e1da-45c8-b209-c2fa9c3b0be6", []),
    "RaiseErrorBlock": ("a88c5bf8-ab58-4d0c-8b17-d8c1b6c1d3f0", []),
    "CurrentTimeBlock": ("a892b8d9-3e4e-4e9c-9c1e-75f8efcf1bfa", ["GetCurrentTimeBlock"]),
    "WaitBlock": ("d67a9c52-5e4e-11e2-bcfd-0800200c9a71", ["CountdownTimerBlock", "TimerBlock"]),
    "ReadFileBlock": ("5065b2a0-2f5e-4f13-be7f-22f919f36ebc", []),
    "StoreFileBlock": ("7f4b9c52-1d5e-4e0b-9d0f-6a4c4f0a3b61", []),
    "ReadStoredFileBlock": ("0c1f6f3c-70b2-4a0e-8f41-2f4d8f6f0f9e", []),
    "ReadLinesBlock": ("6a0f5b83-2d0c-4b7e-9e53-1d2c8f0b7a46", []),
    "WriteFileBlock": ("0f7daa86-1e8f-4a27-8fd9-de7cadc5f375", []),
    "SendWebRequestBlock": ("6595ae1f-b924-42cb-9a41-551a0611c4b4", ["HttpRequestBlock"]),
    "ReadRSSFeedBlock": ("5ebe6768-8e5d-41e3-9134-1c7bd89a8d52", ["c6731acb-4105-4zp1-bc9b-03d0036h370g"]),
}


@pytest.mark.parametrize("name", BY_NAME)
async def test_a_block_gives_what_its_samples_promise(name: str, context: SampleContext) -> None:
    assert await run_samples(BY_NAME[name], context) == []


@pytest.mark.parametrize("name", BY_NAME)
def test_a_block_says_what_it_is(name: str) -> None:
    block = BY_NAME[name]
    assert is_uuid(block.id)
    assert block.description
    assert block.categories
    assert block.test_input and block.test_output
    # An inline block neither waits nor reaches outside; an async one never blocks.
    assert not (block.is_async and block.blocking)
    for schema in (block.Input, block.Output):
        for pin, field in schema.model_fields.items():
            assert field.description, f"{name}.{pin} has no description"
    json.dumps([block.input_schema, block.output_schema])


def test_ids_and_aliases_stay_as_they_are() -> None:
    assert {name: (block.id, list(block.aliases)) for name, block in BY_NAME.items()} == IDS_AND_ALIASES


def test_the_model_names_blocks_that_exist() -> None:
    assert {INPUT_BLOCK, OUTPUT_BLOCK, EXECUTOR_BLOCK} <= BY_NAME.keys()


def test_blocks_with_effects_or_chance_are_not_pure() -> None:
    impure = {name for name, block in BY_NAME.items() if not block.pure}
    assert impure == {
        "PrintToConsoleBlock",
        "AgentExecutorBlock",
        "DataSamplingBlock",
        "ReadCsvBlock",
        "CurrentTimeBlock",
        "WaitBlock",
        "ReadFileBlock",
        "StoreFileBlock",
        "ReadStoredFileBlock",
        "ReadLinesBlock",
        "WriteFileBlock",
        "SendWebRequestBlock",
        "ReadRSSFeedBlock",
    }


def test_the_docs_list_every_block() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "blocks.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` .*\|$", docs, flags=re.MULTILINE)
    rows = [_docs_row(block) for block in BY_NAME.values()]
    assert listed == list(BY_NAME), "the table must be:\n" + "\n".join(rows)
    for row in rows:
        assert row in docs, f"the row must be: {row}"


def _docs_row(block: Block) -> str:
    inputs = ", ".join(f"**{pin}**" if pin in block.required_pins else pin for pin in block.Input.model_fields)
    outputs = ", ".join(block.Output.model_fields) or "-"
    return f"| `{block.name}` | {block.description} | {inputs} | {outputs} |"


class ShoutBlock(Block):
    id = "b3f0e3a4-3f0c-4f6e-9a55-0d6a5d0f2a11"

    class Input(BlockSchema):
        text: str

    class Output(BlockSchema):
        result: str


class TwinBlock(ShoutBlock):
    """Has the id of another."""


class NamelessBlock(Block):
    id = "shout"


def test_blocks_of_the_settings_stand_beside_the_built_in_ones() -> None:
    registry = load_registry([f"{__name__}:ShoutBlock"])
    assert registry.get("ShoutBlock").id == ShoutBlock.id
    assert registry.get("ParrotBlock").name == "ValueBlock"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["shout"], "package.module:ClassName"),
        (["no_such_package.blocks:ShoutBlock"], "ModuleNotFoundError"),
        ([f"{__name__}:Missing"], "no block Missing"),
        ([f"{__name__}:json"], "no block json"),
        ([f"{__name__}:NamelessBlock"], "no UUID"),
        ([f"{__name__}:ShoutBlock", f"{__name__}:TwinBlock"], "two blocks answer to"),
    ],
)
def test_a_wrong_block_of_the_settings_is_named_with_its_fix(paths: list[str], message: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(message)) as raised:
        load_registry(paths)
    [problem] = raised.value.problems
    assert paths[-1] in problem.path
    assert problem.fix


def test_all_wrong_blocks_are_named_at_once() -> None:
    with pytest.raises(InvalidError) as raised:
        load_registry(["a", f"{__name__}:ShoutBlock", "b"])
    assert [problem.path for problem in raised.value.problems] == ["blocks[a]", "blocks[b]"]
