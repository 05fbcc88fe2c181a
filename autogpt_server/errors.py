"""The whole error tree.  HTTP codes for it stand in server/problems.py, the RPC form in service/wire.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: where, what, and how to mend it.

    ``path`` names the place in the input as its author wrote it, for example ``nodes[3].input_default.format``.
    """

    path: str
    message: str
    fix: str | None = None

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}" + (f" ({self.fix})" if self.fix else "")


class ServerError(Exception):
    """Root of every error that this server raises on purpose.

    ``args`` are always plain JSON values with which the same class can be built again: errors cross
    process borders as ``{"type", "args"}``.
    """


class NotFoundError(ServerError, ValueError):
    """Nothing by that name, or nothing that this user may see."""


class GraphNotFound(NotFoundError):
    def __init__(self, graph_id: str, version: int | None = None) -> None:
        super().__init__(graph_id, version)
        self.graph_id, self.version = graph_id, version

    def __str__(self) -> str:
        version = "" if self.version is None else f" version {self.version}"
        return f"Graph {self.graph_id}{version} not found."


class ExecutionNotFound(NotFoundError):
    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"Execution {self.execution_id} not found."


class ScheduleNotFound(NotFoundError):
    def __init__(self, schedule_id: str) -> None:
        super().__init__(schedule_id)
        self.schedule_id = schedule_id

    def __str__(self) -> str:
        return f"Schedule {self.schedule_id} not found."


class ParkedJobNotFound(NotFoundError):
    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"No job row {self.job_id} is parked."


class UserNotFound(NotFoundError):
    def __init__(self, user_id: str) -> None:
        super().__init__(user_id)
        self.user_id = user_id

    def __str__(self) -> str:
        return f"User {self.user_id} not found."


class KeyNotFound(NotFoundError):
    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id

    def __str__(self) -> str:
        return f"Key {self.key_id} not found."


class FileNotKnown(NotFoundError):
    def __init__(self, file_id: str) -> None:
        super().__init__(file_id)
        self.file_id = file_id

    def __str__(self) -> str:
        return f"File {self.file_id} not found; it may have expired."


class TargetNotFound(NotFoundError):
    def __init__(self, target_id: str) -> None:
        super().__init__(target_id)
        self.target_id = target_id

    def __str__(self) -> str:
        return f"Target {self.target_id} not found."


class CredentialsNotFound(NotFoundError):
    def __init__(self, credentials_id: str) -> None:
        super().__init__(credentials_id)
        self.credentials_id = credentials_id

    def __str__(self) -> str:
        return f"Credentials {self.credentials_id} not found."


class TooLarge(ServerError):
    """What was sent is larger than may be."""


class TaskNotFound(NotFoundError):
    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return f"System task {self.task_id} not found."


class BlockNotFound(NotFoundError):
    def __init__(self, block: str) -> None:
        super().__init__(block)
        self.block = block

    def __str__(self) -> str:
        return f"Block {self.block} not found."


class NotAuthenticated(ServerError):
    """Nobody knows who the caller is."""


class NotAuthorizedError(ServerError, ValueError):
    """The caller is known, and may not do this."""


class InvalidError(ServerError, ValueError):
    """An input that was refused whole, with every problem found in it."""

    def __init__(self, message: str, problems: Iterable[Problem | dict[str, Any]] = ()) -> None:
        self.message = message
        self.problems = tuple(p if isinstance(p, Problem) else Problem(**p) for p in problems)
        super().__init__(message, [asdict(p) for p in self.problems])

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"- {p}" for p in self.problems)])


class ConflictError(ServerError):
    """The thing is not in a state that allows this."""


class BlockError(ServerError):
    """A block failed in a way that is its own or its input's fault; its message becomes the node's error.

    Args:
        message: What is wrong.
        retry_after_seconds: How long the other side asks to be left alone before the next try, when it does.
    """

    def __init__(self, message: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(*([message] if retry_after_seconds is None else [message, retry_after_seconds]))
        self.message, self.retry_after_seconds = message, retry_after_seconds

    def __str__(self) -> str:
        return self.message


class BlockInputError(BlockError):
    """The input of a node does not fit its block.  Running it again would end the same, so no policy retries it."""


class BlockTimeout(BlockError):
    """A run of a block took longer than it may.  Retry policies know it as ``timeout``."""


class HistoryDiffers(ServerError):
    """What is recorded of an execution is not what its graph and inputs lead to; it cannot be resumed."""

    def __init__(self, sequence: int, reason: str) -> None:
        super().__init__(sequence, reason)
        self.sequence, self.reason = sequence, reason

    def __str__(self) -> str:
        return f"history differs at sequence {self.sequence}: {self.reason}"


class Unavailable(ServerError):
    """The database, a service or the storage does not answer now; asking again later may work."""
