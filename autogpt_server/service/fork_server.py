"""The one fork server of a machine: a preloaded, thread-free process from which all others are forked.

Refines multiprocess' own in four points: processes that came from it use it too instead of starting another one,
it stands outside the terminal's process group, it says what it could not preload, and whoever waits in vain for it
ends it, so that another one takes its place.  Importing this module puts it
in the place of multiprocess' own.  Standard library and multiprocess only: the supervisor imports it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence

from multiprocess import connection, forkserver, resource_tracker, util

__all__ = ["FORK_SERVER", "MachineForkServer", "serve"]

#: Seconds that the fork server gets to end when the process that started it does.
_LEAVE_SECONDS = 1.0
#: Seconds in which it forks, which takes milliseconds; and those before that in which it imports the modules.
_FORK_SECONDS, _IMPORT_SECONDS = 5, 60

_BOOT = """import sys
sys.path[:] = {path!r}
from autogpt_server.service.fork_server import serve
serve({listener}, {alive}, {modules!r})"""


class MachineForkServer(forkserver.ForkServer):
    """Starts the fork server at the first use, and again when it has died."""

    def __init__(self) -> None:
        super().__init__()
        self._server: subprocess.Popen[bytes] | None = None
        self._preload_modules = ["autogpt_server.service.process"]
        #: Process id of the fork server that this process came from.
        self._origin: int | None = None
        self._has_forked = False

    @property
    def pid(self) -> int | None:
        """Process id of the fork server that this process started; None in a process that came from one."""
        return self._server.pid if self._server else None

    def is_alive(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def preload(self, modules: Iterable[str]) -> None:
        """Name the modules that the next fork server imports once for all."""
        self._preload_modules = list(modules)

    def ensure_running(self) -> None:
        with self._lock:
            resource_tracker.ensure_running()
            came_from_fork_server = self._inherited_fds is not None
            if came_from_fork_server or self.is_alive():
                return
            if self._server is not None:
                os.close(self._forkserver_alive_fd)
            self._launch()

    def connect_to_new_process(self, fds: Sequence[int]) -> tuple[int, int]:
        """Have a process forked; returns what it and its end are told on, and where to write what it shall do.

        Raises:
            OSError: The fork server has died, or it stands still and was killed.
        """
        told, orders = super().connect_to_new_process(fds)
        # In steps: where everything was frozen for a while, it gets its time all the same.
        seconds = _FORK_SECONDS if self._has_forked or self._origin is not None else _IMPORT_SECONDS
        if not any(connection.wait([told], 1.0) for _ in range(seconds)):
            os.close(told)
            os.close(orders)
            self._kill()
            raise OSError(f"the fork server has stood still for {seconds} s and was killed")
        self._has_forked = True
        return told, orders

    def note_origin(self) -> None:
        """Tell all that are forked from here on that this process is their fork server."""
        self._origin = os.getpid()

    def _kill(self) -> None:
        """End the fork server; whoever supervises all processes sees that, and starts anew."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        elif self._origin is not None and os.getppid() == self._origin:
            os.kill(self._origin, signal.SIGKILL)

    def _launch(self) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            address = connection.arbitrary_address("AF_UNIX")
            listener.bind(address)
            os.chmod(address, 0o600)
            listener.listen(128)
            # Every process that came from the server holds the write end too: it ends after the last of them.
            alive_read, alive_write = os.pipe()
            try:
                fds = (listener.fileno(), alive_read)
                code = _BOOT.format(path=sys.path, listener=fds[0], alive=fds[1], modules=self._preload_modules)
                self._server = subprocess.Popen(
                    [sys.executable, "-c", code],
                    pass_fds=fds,
                    stdin=subprocess.DEVNULL,
                    # Ctrl-C and a closed terminal reach the supervisor alone, which then stops all in order.
                    start_new_session=True,
                )
            except BaseException:
                os.close(alive_write)
                raise
            finally:
                os.close(alive_read)
        self._forkserver_address, self._forkserver_alive_fd = address, alive_write
        self._has_forked = False
        # Runs at the end of this process, after what it started has been stopped.
        util.Finalize(None, self._leave, exitpriority=-1)

    def _leave(self) -> None:
        """Let the fork server end, and take leave of it."""
        if self.is_alive() and self._server is not None:
            os.close(self._forkserver_alive_fd)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(_LEAVE_SECONDS)


def serve(listener_fd: int, alive_fd: int, modules: Iterable[str]) -> None:
    """Be the fork server: import the modules, then fork on request until nobody is left who could ask."""
    # Next to nothing of what importing makes is garbage, and it would be looked for again and again.
    gc.disable()
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            # Whoever needs the module meets the same error, with a traceback that says why it was needed.
            sys.stderr.write(f"fork server: {module} is not preloaded: {error}\n")
    if threading.active_count() > 1:
        raise RuntimeError(f"a preloaded module started threads, forking is not safe: {threading.enumerate()}")
    # What is here is here for good: the collector need not touch it, so that its pages stay shared.
    gc.collect()
    gc.freeze()
    gc.enable()
    FORK_SERVER.note_origin()
    forkserver.main(listener_fd, alive_fd, preload=())


#: The machine's fork server as this process sees it.
FORK_SERVER = MachineForkServer()

forkserver._forkserver = FORK_SERVER  # pyright: ignore[reportPrivateUsage]
forkserver.ensure_running = FORK_SERVER.ensure_running
forkserver.get_inherited_fds = FORK_SERVER.get_inherited_fds
forkserver.connect_to_new_process = FORK_SERVER.connect_to_new_process
forkserver.set_forkserver_preload = FORK_SERVER.set_forkserver_preload
