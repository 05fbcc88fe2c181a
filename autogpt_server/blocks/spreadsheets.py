"""Tables as comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from autogpt_server.blocks.files import decode
from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema

Row = dict[str, str]


class ReadCsvBlock(Block):
    id = "acf7625e-d2cb-4941-bfeb-2819fc6fc015"
    aliases = ("ReadSpreadsheetBlock",)
    description = "Reads comma-separated values row by row, from a text or a file of the user's folder."
    categories = frozenset({BlockCategory.DATA, BlockCategory.FILES})

    class Input(BlockSchema):
        contents: str | None = Field(default=None, description="The text; the file is read where it is empty.")
        path: str | None = Field(default=None, description="The file's path inside the user's folder.")
        file_input: str | None = Field(default=None, description="The path under its other name.")
        encoding: str = Field(default="utf-8", description="How the file's text is stored.")
        delimiter: str = Field(default=",", min_length=1, max_length=1, description="What stands between two values.")
        quotechar: str = Field(default='"', max_length=1, description="What stands around a value; empty for nothing.")
        escapechar: str = Field(default="", max_length=1, description="Takes the next character as it is.")
        has_header: bool = Field(default=True, description="The first row names the columns; else they are 0, 1, ….")
        skip_rows: int = Field(default=0, ge=0, description="Rows to leave out, counted after the header.")
        strip: bool = Field(default=True, description="Remove white space around values.")
        skip_columns: list[str] = Field(default=[], description="Names of columns to leave out.")

        outputs: list[Literal["row", "all_data", "rows"]] = Field(
            default=["row", "all_data", "rows"],
            description="The pins to yield; large tables fit and run better without those that no link takes.",
        )

    class Output(BlockSchema):
        row: Row = Field(description="One row: values by column.")
        all_data: list[Row] = Field(description="All rows.")
        rows: list[Row] = Field(description="All rows, under their other name.")

    test_input = [
        {"contents": 'a, b\n1,"2,\n3"\n'},
        {"contents": "1;2;3", "delimiter": ";", "has_header": False, "skip_columns": ["1"]},
    ]
    test_output = [
        ("row", {"a": "1", "b": "2,\n3"}),
        ("all_data", [{"a": "1", "b": "2,\n3"}]),
        ("rows", [{"a": "1", "b": "2,\n3"}]),
        ("row", {"0": "1", "2": "3"}),
        ("all_data", [{"0": "1", "2": "3"}]),
        ("rows", [{"0": "1", "2": "3"}]),
    ]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        rows: list[Row] = []
        try:
            for row in _rows(input_data, _text(input_data, context)):
                rows.append(row)
                if "row" in input_data.outputs:
                    yield "row", row
        except csv.Error as error:
            raise BlockError(f"row {len(rows) + 1} cannot be read: {error}") from None
        for pin in ("all_data", "rows"):
            if pin in input_data.outputs:
                yield pin, rows


def _text(input_data: ReadCsvBlock.Input, context: BlockContext) -> str:
    path = input_data.path or input_data.file_input
    if input_data.contents:
        return input_data.contents
    if path:
        return decode(context.read_file(path), input_data.encoding, path)
    if input_data.contents is None:
        raise BlockError("neither `contents` nor `path` is given")
    return ""


def _rows(input_data: ReadCsvBlock.Input, text: str) -> Iterator[Row]:
    quoting = csv.QUOTE_MINIMAL if input_data.quotechar else csv.QUOTE_NONE
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=input_data.delimiter,
        quotechar=input_data.quotechar or None,
        escapechar=input_data.escapechar or None,
        quoting=quoting,
        skipinitialspace=input_data.strip,
    )
    lines = (line for line in reader if line)
    header: list[str] = []
    if input_data.has_header:
        header = [name.strip() if input_data.strip else name for name in next(lines, header)]
    skipped = set(input_data.skip_columns)
    for number, line in enumerate(lines):
        if number < input_data.skip_rows:
            continue
        values = [value.strip() for value in line] if input_data.strip else line
        # Values beyond the header are named by their position.
        names = [*header, *map(str, range(len(header), len(values)))]
        yield {name: value for name, value in zip(names, values, strict=False) if name not in skipped}
