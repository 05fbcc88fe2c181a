"""What the server needs beyond its Python packages, made when it is missing: Node packages and the Prisma client."""

from __future__ import annotations

from pathlib import Path

from autogpt_server.provision.client import PrismaClient
from autogpt_server.provision.environment import Environment
from autogpt_server.provision.node_packages import NodePackages
from autogpt_server.provision.steps import Steps

#: The checkout: the folder with schema.prisma, package-lock.json and node_modules.
ROOT = Path(__file__).resolve().parents[2]
#: Held by a set-up while it changes something.
LOCK_PATH = ROOT / ".cache" / "set-up.lock"


def provide() -> None:
    """Make sure that the server can start in this environment, however its Python packages came here.

    Takes about a millisecond when all is there.

    Raises:
        SetUpFailed: Something could not be made.
    """
    environment = Environment.running()
    if not is_provided(environment):
        with Steps.exclusive(LOCK_PATH) as steps:
            complete(steps, environment)


def is_provided(environment: Environment, *, dev: bool = False) -> bool:
    """Tell whether nothing has to be made, with the packages for developing too if ``dev``."""
    return NodePackages(ROOT, environment, dev=dev).is_ready and PrismaClient(ROOT, environment).is_ready


def complete(steps: Steps, environment: Environment, *, dev: bool = False) -> None:
    """Make what is missing.

    Raises:
        SetUpFailed: Something could not be made.
    """
    packages = NodePackages(ROOT, environment, dev=dev)
    if not packages.is_ready:
        packages.install(steps)
    # Asked only now: its answer depends on packages that may have come this moment.
    client = PrismaClient(ROOT, environment)
    if not client.is_ready:
        client.generate(steps)
