"""The typed Prisma client, generated from schema.prisma into the Python package ``prisma``.

The generator asks native engines for nothing but their version, so a script that answers with it takes their place.
"""

from __future__ import annotations

import json
from pathlib import Path

from autogpt_server.provision.environment import Environment
from autogpt_server.provision.stamp import Stamp
from autogpt_server.provision.steps import SetUpFailed, Steps

#: Printed instead of by a native engine; the generator compares nothing else.
_VERSION_SCRIPT = "#!/bin/sh\necho query-engine {}\n"

#: Characters of a path that end or change the text in quotes which the generator makes of it.
_BREAKS_CLIENT = frozenset("'\\\n")


class PrismaClient:
    """The client of one environment for one checkout's schema."""

    def __init__(self, root: Path, environment: Environment) -> None:
        self._root = root
        self._environment = environment
        self._package = environment.site_packages / "prisma"
        self._stamp = Stamp(
            environment.stamps / "client",
            root / "schema.prisma",
            root / "package-lock.json",
            environment.find_version("prisma"),
            # The client names the schema it was made from.
            str(root),
        )

    @property
    def is_ready(self) -> bool:
        return self._stamp.is_valid and (self._package / "client.py").exists()

    def generate(self, steps: Steps) -> None:
        """Generate the client anew; needs the Node packages.

        Raises:
            SetUpFailed: The generator refused the schema, or failed, or wrote what cannot be imported.
        """
        with steps.step("Prisma client (schema.prisma)"), self._stamp.remade():
            self._remove()
            engine = self._write_version_script()
            command = [self._root / "node_modules" / "prisma" / "build" / "index.js", "generate"]
            steps.run(
                [self._environment.node, *command, f"--schema={self._root / 'schema.prisma'}"],
                cwd=self._root,
                # The generator itself is a program in the environment.
                path=self._environment.bin,
                variables={
                    "PRISMA_CLI_QUERY_ENGINE_TYPE": "binary",
                    "PRISMA_QUERY_ENGINE_BINARY": str(engine),
                    "PRISMA_SCHEMA_ENGINE_BINARY": str(engine),
                    "PRISMA_HIDE_UPDATE_MESSAGE": "1",
                    # Asks nobody on the network whether there is a newer version.
                    "CHECKPOINT_DISABLE": "1",
                },
            )
            steps.compile(self._environment.python, self._package)
            self._try_import(steps)

    def _remove(self) -> None:
        """Take away what was generated before: half of a client would keep the generator from starting."""
        templates = self._package / "generator" / "templates"
        for template in templates.rglob("*.py.jinja"):
            if not template.name.startswith("_"):
                (self._package / template.relative_to(templates).with_suffix("")).unlink(missing_ok=True)

    def _try_import(self, steps: Steps) -> None:
        """Import the client.  The generator writes the checkout's path into it without escaping what Python needs."""
        try:
            steps.run([self._environment.python, "-I", "-c", "import prisma.client"], cwd=self._root)
        except SetUpFailed as failure:
            if set(str(self._root)) & _BREAKS_CLIENT:
                raise SetUpFailed(
                    f"The Prisma client cannot be imported, because of the path of this checkout:\n{self._root}\n"
                    "Move the checkout to a path without an apostrophe or backslash, and run this again there."
                ) from failure
            raise SetUpFailed(f"The Prisma client was generated but cannot be imported.\n{failure}") from failure

    def _write_version_script(self) -> Path:
        package = self._root / "node_modules" / "@prisma" / "engines-version" / "package.json"
        version = json.loads(package.read_text(encoding="utf-8"))["prisma"]["enginesVersion"]
        script = self._environment.stamps / "engine-version"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(_VERSION_SCRIPT.format(version), encoding="ascii")
        script.chmod(0o755)
        return script
