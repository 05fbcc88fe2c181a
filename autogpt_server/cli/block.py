"""``autogpt blocks``: look at the installed blocks, test them, and begin a new one.  Needs no server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autogpt_server.cli.options import Json

app = typer.Typer(help="Look at the installed blocks, test them, and begin a new one.", no_args_is_help=True)


@app.command("list")
def list_blocks(
    search: Annotated[
        str, typer.Argument(metavar="[WORD]", help="Only those whose name, description or category holds this word.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the blocks that graphs can use here."""
    from autogpt_server.blocks.registry import load_registry
    from autogpt_server.cli.block_pins import as_dict, matches
    from autogpt_server.cli.screen import print_json, print_table
    from autogpt_server.settings import Settings

    blocks = sorted((b for b in load_registry(Settings().blocks) if matches(b, search)), key=lambda block: block.name)
    if as_json:
        print_json([as_dict(block) for block in blocks])
    else:
        rows = [(block.name, ", ".join(sorted(block.categories)), block.description) for block in blocks]
        print_table(["Name", "Categories", "Description"], rows, empty=f"No block matches {search!r}.")


@app.command("show")
def show_block(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or id of a block.")], as_json: Json = False
) -> None:
    """Show a block: its pins, their types and their defaults."""
    from autogpt_server.blocks.registry import load_registry
    from autogpt_server.cli.block_pins import as_dict, input_rows, output_rows
    from autogpt_server.cli.screen import out, print_json, print_table
    from autogpt_server.settings import Settings

    block = load_registry(Settings().blocks).get(name)
    if as_json:
        print_json(as_dict(block))
        return
    out.print(f"{block.name}  {block.id}\n{block.description}", markup=False)
    if block.static_output:
        out.print("Its output links are static: they keep the last value.")
    print_table(["Input pin", "Type", "Default", "Description"], input_rows(block), empty="No input pins.")
    print_table(["Output pin", "Type", "Description"], output_rows(block), empty="No output pins.")


@app.command("test")
def test_blocks(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; otherwise all.")] = None,
) -> None:
    """Run the samples that blocks carry, and compare what they yield."""
    from autogpt_server.blocks.registry import load_registry
    from autogpt_server.cli.block_samples import PRELOAD, differences_of
    from autogpt_server.cli.screen import out
    from autogpt_server.service.child import preload
    from autogpt_server.settings import Settings

    settings = Settings()
    registry = load_registry(settings.blocks)
    preload(PRELOAD)
    failed = False
    for block in [registry.get(name) for name in names] if names else registry:
        differences = differences_of(block, settings)
        failed = failed or bool(differences)
        out.print(f"[red]✗[/] {block.name}" if differences else f"[green]✓[/] {block.name}")
        for difference in differences:
            out.print(f"  - {difference}", markup=False)
    if failed:
        raise typer.Exit(1)


@app.command("new")
def new_block(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the class, like WordCountBlock.")],
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Where to write the two files.", file_okay=False)
    ] = Path(),
) -> None:
    """Begin a block: writes a small block that works, and its test."""
    import shlex

    from autogpt_server.cli.block_template import write_block
    from autogpt_server.cli.screen import out
    from autogpt_server.provision.provide import ROOT

    written = write_block(name, folder)
    out.print(f"Written: {written.block_file} and {written.test_file}", markup=False)
    enabled = f"AUTOGPT_BLOCKS={written.import_path} PYTHONPATH={shlex.quote(str(folder))}"
    # It installs pytest where that is missing, and starts in the project's folder.
    test = shlex.join([str(ROOT / "scripts" / "test"), str(written.test_file.absolute())])
    out.print(f"Try it:    {enabled} autogpt blocks test {name}", markup=False)
    out.print(f"Test it:   {test}", markup=False)
    out.print(f"Enable it: {enabled} autogpt serve", markup=False)
