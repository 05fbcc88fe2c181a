"""Answers what is no HTTP at all with a problem, as everything else that is refused.

No application sees such a request: there is nothing to hand on.
"""

from __future__ import annotations

import sys

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from autogpt_server.server.problems import MALFORMED, problem_response


class ProblemProtocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, but for the answer to what it cannot read."""

    def send_400_response(self, msg: str) -> None:
        """Answer and hang up: where the next request would begin, nobody knows."""
        # Called while the parser's error is handled, which says more than the message.
        answer = problem_response(MALFORMED, f"This is no HTTP request that can be read: {sys.exception() or msg}.")
        lines = [b"HTTP/1.1 400 Bad Request", *(b"%s: %s" % header for header in answer.raw_headers)]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", bytes(answer.body)]))
        self.transport.close()
