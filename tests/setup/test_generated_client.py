import stat
from pathlib import Path

import pytest

from autogpt_server.provision.client import PrismaClient
from autogpt_server.provision.environment import Environment
from autogpt_server.provision.steps import SetUpFailed, Steps


def make_client(root: Path, *, imports: bool) -> PrismaClient:
    """A checkout whose generator does nothing, and whose Python imports the client or does not."""
    engines = root / "node_modules" / "@prisma" / "engines-version"
    engines.mkdir(parents=True)
    (engines / "package.json").write_text('{"prisma": {"enginesVersion": "1"}}')
    for name in ("schema.prisma", "package-lock.json"):
        (root / name).write_text("{}")
    environment = Environment.at(root / ".venv")
    write_program(environment.node, "exit 0")
    write_program(
        environment.python, f"""[ "$2" = -c ] || exit 0; echo 'SyntaxError: line 88' >&2; exit {int(not imports)}"""
    )
    package = environment.site_packages / "prisma"
    package.mkdir()
    (package / "client.py").touch()
    return PrismaClient(root, environment)


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(stat.S_IRWXU)


def generate(client: PrismaClient, lock: Path) -> None:
    with Steps.exclusive(lock) as steps:
        client.generate(steps)


def test_a_client_that_can_be_imported_is_ready(tmp_path: Path) -> None:
    client = make_client(tmp_path / "checkout", imports=True)

    generate(client, tmp_path / "lock")

    assert client.is_ready


def test_an_apostrophe_in_the_path_of_the_checkout_is_named_with_the_way_out(tmp_path: Path) -> None:
    root = tmp_path / "anna's checkout"
    client = make_client(root, imports=False)

    with pytest.raises(SetUpFailed) as failure:
        generate(client, tmp_path / "lock")

    assert str(root) in str(failure.value)
    assert "Move the checkout to a path without an apostrophe" in str(failure.value)
    assert not client.is_ready


def test_a_client_that_cannot_be_imported_for_another_reason_says_it(tmp_path: Path) -> None:
    client = make_client(tmp_path / "checkout", imports=False)

    with pytest.raises(SetUpFailed, match="SyntaxError: line 88") as failure:
        generate(client, tmp_path / "lock")

    assert "apostrophe" not in str(failure.value)
    assert not client.is_ready
