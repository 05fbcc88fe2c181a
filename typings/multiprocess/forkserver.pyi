from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from threading import Lock

class ForkServer(forkserver.ForkServer):
    _forkserver_address: str | None
    _forkserver_alive_fd: int
    _inherited_fds: list[int] | None
    _preload_modules: list[str]
    _lock: Lock

_forkserver: ForkServer
ensure_running: Callable[[], None]
get_inherited_fds: Callable[[], list[int] | None]
connect_to_new_process: Callable[[Sequence[int]], tuple[int, int]]
set_forkserver_preload: Callable[[list[str]], None]

def main(listener_fd: int, alive_r: int, preload: Sequence[str]) -> None: ...
