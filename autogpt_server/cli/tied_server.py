"""The server, tied to whoever started it: it stops in order when its standard input closes."""

from __future__ import annotations

import os
import signal
import sys
import threading

from autogpt_server.app import main


def _stop_with_starter() -> None:
    # Not sys.stdin: the lock that a thread holds while it reads there aborts Python at its end.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_starter, daemon=True).start()
    sys.exit(main())
