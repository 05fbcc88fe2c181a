import os
import re
from pathlib import Path

import pytest
from pydantic import AliasChoices

from autogpt_server.settings import Settings

EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"
LINES = re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)


def names_of(field: str) -> set[str]:
    alias = Settings.model_fields[field].validation_alias
    return {str(name) for name in alias.choices} if isinstance(alias, AliasChoices) else {f"AUTOGPT_{field.upper()}"}


def test_the_example_names_every_setting_once_and_nothing_else() -> None:
    shown = [name for name, _ in LINES]

    for field in Settings.model_fields:
        assert len(names_of(field) & set(shown)) == 1, f"{field} in {EXAMPLE.name}"
    assert len(shown) == len(Settings.model_fields)


def test_the_values_of_the_example_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {name for field in Settings.model_fields for name in names_of(field)} & os.environ.keys():
        monkeypatch.delenv(name)
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in LINES if value))

    from_example = Settings(_env_file=tmp_path / ".env")  # type: ignore[call-arg]

    assert from_example == Settings(_env_file=None)  # type: ignore[call-arg]
