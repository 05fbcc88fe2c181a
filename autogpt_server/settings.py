"""The only reader of the environment.  Built once per process and handed on.

Every setting is read from ``AUTOGPT_<NAME>``; those that other deployments know by another name have it as an
alias.  The environment wins over ``.env``, which wins over the defaults here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]

#: Bytes of a folder whose sockets still fit into the 107 that a socket's path may have.
_LONGEST_RUN_DIR = 60


def _names(*aliases: str) -> AliasChoices:
    return AliasChoices(*aliases)


class Settings(BaseSettings):
    """All settings with their defaults.  A bad value stops the start with the name of its field."""

    model_config = SettingsConfigDict(
        env_prefix="AUTOGPT_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    # Where things are kept
    #: Database, files, logs and sockets.  Relative paths of other settings start here.
    data_dir: Path = Path("data")
    #: Prisma's ``file:`` and ``postgresql:`` forms and SQLAlchemy's forms alike.
    database_url: str = Field(
        default="file:database.db", validation_alias=_names("AUTOGPT_DATABASE_URL", "DATABASE_URL")
    )
    #: For connections that must not pass a pooler; defaults to ``database_url``.
    direct_url: str | None = Field(default=None, validation_alias=_names("AUTOGPT_DIRECT_URL", "DIRECT_URL"))

    #: Prisma's native query engine, used instead of the built-in one when given.
    prisma_query_engine_binary: Path | None = Field(
        default=None, validation_alias=_names("AUTOGPT_PRISMA_QUERY_ENGINE_BINARY", "PRISMA_QUERY_ENGINE_BINARY")
    )

    # Where services listen
    host: str = "127.0.0.1"
    port: Port = 8000
    execution_manager_port: Port = Field(
        default=8002, validation_alias=_names("AUTOGPT_EXECUTION_MANAGER_PORT", "EXECUTION_MANAGER_PORT")
    )
    execution_scheduler_port: Port = Field(
        default=8003, validation_alias=_names("AUTOGPT_EXECUTION_SCHEDULER_PORT", "EXECUTION_SCHEDULER_PORT")
    )
    notification_port: Port = Field(
        default=8007, validation_alias=_names("AUTOGPT_NOTIFICATION_PORT", "NOTIFICATION_PORT")
    )
    #: Host on which services listen, and under which they find each other unless ``<SERVICE NAME>_HOST`` says so.
    pyro_host: str = Field(default="localhost", validation_alias=_names("AUTOGPT_PYRO_HOST", "PYRO_HOST"))
    #: Seconds to connect to a service.
    pyro_client_comm_timeout: Seconds = Field(
        default=15, validation_alias=_names("AUTOGPT_PYRO_CLIENT_COMM_TIMEOUT", "PYRO_CLIENT_COMM_TIMEOUT")
    )
    #: Attempts of a call that is safe to repeat.
    pyro_client_comm_retry: Count = Field(
        default=3, validation_alias=_names("AUTOGPT_PYRO_CLIENT_COMM_RETRY", "PYRO_CLIENT_COMM_RETRY")
    )
    #: Seconds that one call to a service may take.
    rpc_client_call_timeout: Seconds = Field(
        default=300, validation_alias=_names("AUTOGPT_RPC_CLIENT_CALL_TIMEOUT", "RPC_CLIENT_CALL_TIMEOUT")
    )
    #: Shared by all services; demanded of every call, and required where a service listens beyond loopback.
    rpc_secret: SecretStr | None = None

    #: Key that commands send to a server which asks for one.
    api_key: SecretStr | None = None

    #: Seconds after which a process of the server that stands still is killed and started again.
    process_stall_seconds: Annotated[float, Field(ge=1)] = 30

    # Executing
    #: Executor processes; defaults to the number of cores.
    executor_processes: Count = Field(default_factory=lambda: os.cpu_count() or 1)
    #: Executions that one executor process runs at the same time.
    executor_concurrency: Count = 1000
    #: Executions of one user that may run at the same time, parts of others not counted; default: any number.
    max_concurrent_per_user: Count | None = None
    #: Seconds without a beat after which an executor's work is given to others.
    executor_lease_seconds: Seconds = 10
    #: Megabytes that one executor process may use, with what its blocks start.
    executor_memory_mb: Count = 2048
    #: Processes that the blocks of one executor process may have started at the same time.
    executor_max_children: Count = 100
    #: Processes beside each executor process that run its blocks declared heavy; started when one is needed.
    side_processes: Count = 1
    #: Deaths of its executor process after which an execution is given up.
    max_deaths: Count = 3
    #: Longest time that one run of a block may take, unless the block says otherwise.
    node_timeout_seconds: Seconds = 3600
    #: Longest time that an execution may run, pauses not counted, unless its graph says otherwise; none by default.
    execution_timeout_seconds: Seconds | None = None
    #: Seconds that running blocks get to end at a stop, before their executions are handed back.
    drain_seconds: Annotated[float, Field(ge=0)] = 5
    #: Import paths of more blocks, ``package.module:ClassName`` each, separated by commas.
    blocks: Annotated[tuple[str, ...], NoDecode] = ()

    # Scheduling: read by the scheduler and its system tasks
    #: Connections of each of the scheduler's job stores.
    scheduler_db_pool_size: Count = Field(
        default=3, validation_alias=_names("AUTOGPT_SCHEDULER_DB_POOL_SIZE", "SCHEDULER_DB_POOL_SIZE")
    )
    #: Seconds that an execution may stay QUEUED before it is reported as late; also how often is looked.
    execution_late_notification_threshold_secs: Count = Field(
        default=300,
        validation_alias=_names(
            "AUTOGPT_EXECUTION_LATE_NOTIFICATION_THRESHOLD_SECS", "EXECUTION_LATE_NOTIFICATION_THRESHOLD_SECS"
        ),
    )
    #: Seconds for which executions are looked at that may be late.
    execution_late_notification_checkrange_secs: Count = Field(
        default=3600,
        validate_default=True,
        validation_alias=_names(
            "AUTOGPT_EXECUTION_LATE_NOTIFICATION_CHECKRANGE_SECS", "EXECUTION_LATE_NOTIFICATION_CHECKRANGE_SECS"
        ),
    )
    #: Share of a block's node executions that may fail within a day before that is reported.
    block_error_rate_threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, validation_alias=_names("AUTOGPT_BLOCK_ERROR_RATE_THRESHOLD", "BLOCK_ERROR_RATE_THRESHOLD")
    )
    #: Blocks that are named in the report where none fails too often.
    block_error_include_top_blocks: Annotated[int, Field(ge=0)] = Field(
        default=3,
        validation_alias=_names("AUTOGPT_BLOCK_ERROR_INCLUDE_TOP_BLOCKS", "BLOCK_ERROR_INCLUDE_TOP_BLOCKS"),
    )
    #: Seconds between two looks at the error rates of blocks.
    block_error_rate_check_interval_secs: Count = Field(
        default=86_400,
        validation_alias=_names("AUTOGPT_BLOCK_ERROR_RATE_CHECK_INTERVAL_SECS", "BLOCK_ERROR_RATE_CHECK_INTERVAL_SECS"),
    )
    #: Hours between two clean-ups of expired files.
    cloud_storage_cleanup_interval_hours: Annotated[int, Field(ge=1, le=24)] = Field(
        default=6,
        validation_alias=_names("AUTOGPT_CLOUD_STORAGE_CLEANUP_INTERVAL_HOURS", "CLOUD_STORAGE_CLEANUP_INTERVAL_HOURS"),
    )

    # Keeping
    #: Days after their end for which executions are kept, with everything recorded of them; by default for ever.
    retention_executions_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    #: Days for which what became of due times is kept; by default for ever.
    retention_slots_days: Annotated[int, Field(ge=7, le=36_500)] | None = None

    # Limits
    max_nodes: Count = 10_000
    max_links: Count = 50_000
    max_node_executions: Count = 100_000
    #: Pairs that one node execution may yield.
    max_node_outputs: Count = 100_000
    #: Bytes of JSON that one node execution may yield.
    max_node_output_bytes: Count = 32 * 1024 * 1024
    #: Bytes of what one node execution prints and logs that are kept; more is cut off.
    max_node_log_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024
    #: Bytes of one request body.
    max_body_bytes: Count = 16 * 1024 * 1024
    #: How deep executions may start executions.
    max_depth: Count = 10
    #: Bytes of a file or of a web response that a block reads.
    max_file_bytes: Count = 100 * 1024 * 1024

    # Files and secrets
    #: Where uploaded files are kept: ``file:///path``, ``s3://bucket/prefix``, ``gs://`` or ``az://``; by default the
    #: folder ``storage`` of the data folder.
    storage_url: str | None = None
    #: Options for it as a JSON object, those of fsspec's filesystem: keys, ``endpoint_url`` and the like.
    storage_options: SecretStr | None = None
    #: Bytes of one uploaded file.
    max_upload_bytes: Count = 1024 * 1024 * 1024
    #: Bytes that all files of one user may have; default: any number.
    max_bytes_per_user: Count | None = None
    #: Keys under which secrets are stored, separated by commas, the first one encrypts; by default a file of the data
    #: folder has them.
    secret_keys: SecretStr | None = None
    #: JSON file that names the OAuth2 providers with which users can connect; see docs/credentials.md.
    oauth_providers_file: Path | None = None
    #: Address at which browsers reach this server; by default ``http://`` with host and port of the REST interface.
    public_url: Annotated[str, Field(pattern=r"^https?://[^/?#]+(/[^?#]*)?$")] | None = None

    # Mail
    #: Server that takes mails; without one they are put into the folder ``mails`` of the data folder.
    smtp_host: str | None = None
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    #: How the connection is encrypted: not at all, after a greeting, or from its beginning.
    smtp_tls: Literal["none", "starttls", "tls"] = "starttls"
    #: Who mails are from.
    mail_from: Annotated[str, Field(pattern=r"^[^\r\n]+@[^\r\n]+$")] = "agent-server@localhost"

    # What blocks may reach
    #: Private, loopback and link-local networks that web requests may reach, as CIDR, separated by commas.
    allowed_networks: Annotated[tuple[str, ...], NoDecode] = ()

    # Traces: OpenTelemetry's own variables; its SDK reads the others itself
    #: Base address of an OTLP receiver; none, no traces.
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, validation_alias=_names("OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    #: Full address for traces, instead of the base with ``/v1/traces`` behind it.
    otel_exporter_otlp_traces_endpoint: str | None = Field(
        default=None, validation_alias=_names("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )
    otel_sdk_disabled: bool = Field(default=False, validation_alias=_names("OTEL_SDK_DISABLED"))
    otel_traces_exporter: str = Field(default="otlp", validation_alias=_names("OTEL_TRACES_EXPORTER"))

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: ``auto`` writes for people on a terminal and JSON otherwise.
    log_format: Literal["auto", "human", "json"] = "auto"

    # For tests of this server
    #: Folder of the files that make a process die at a named place; see service/crash_points.py.
    crash_points_dir: Path | None = None

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("execution_late_notification_checkrange_secs")
    @classmethod
    def _beyond_threshold(cls, seconds: int, info: ValidationInfo) -> int:
        threshold: int = info.data.get("execution_late_notification_threshold_secs", 0)
        if seconds <= threshold:
            name = "execution_late_notification_threshold_secs"
            raise ValueError(f"{seconds} s is not longer than {name} ({threshold} s): nothing would ever be late")
        return seconds

    @field_validator("allowed_networks")
    @classmethod
    def _networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            ipaddress.ip_network(text, strict=False)
        return texts

    @field_validator("blocks", "allowed_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def traces_endpoint(self) -> str | None:
        """Where spans are posted; None when no traces are wanted."""
        if self.otel_sdk_disabled or self.otel_traces_exporter != "otlp":
            return None
        if self.otel_exporter_otlp_traces_endpoint:
            return self.otel_exporter_otlp_traces_endpoint
        base = self.otel_exporter_otlp_endpoint
        return f"{base.rstrip('/')}/v1/traces" if base else None

    @cached_property
    def files_dir(self) -> Path:
        """Users' folders, one each."""
        return self.data_dir / "files"

    @cached_property
    def mails_dir(self) -> Path:
        """Mails that no server takes."""
        return self.data_dir / "mails"

    @cached_property
    def run_dir(self) -> Path:
        """Sockets and lock files of the running server: in the data folder, or in the system's folder for temporary
        files where the path would be too long for a socket."""
        inside = self.data_dir / "run"
        if len(os.fsencode(inside)) <= _LONGEST_RUN_DIR:
            return inside
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"autogpt-{os.getuid()}-{digest}"

    def service_host(self, service_name: str) -> str:
        """Tell where a service is found: ``EXECUTIONMANAGER_HOST`` and ``EXECUTION_MANAGER_HOST`` alike, or else
        ``pyro_host``."""
        upper = service_name.upper()
        spaced = "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(service_name)).upper()
        for values in (os.environ, self._file):
            host = values.get(f"{upper}_HOST") or values.get(f"{spaced}_HOST")
            if host:
                return host
        return self.pyro_host

    @cached_property
    def _file(self) -> dict[str, str | None]:
        """What ``.env`` says, for names that are no fields."""
        return dotenv_values(".env")
