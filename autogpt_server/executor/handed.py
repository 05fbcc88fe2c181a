"""An execution on its way from where it was accepted to the executor for which it was claimed with that."""

from __future__ import annotations

import orjson

from autogpt_server.data.queue import Claimed, NewExecution
from autogpt_server.events.handover import MAX_BYTES
from autogpt_server.model.jsonvalue import dumps, loads
from autogpt_server.model.turns import ORDINARY

#: Bytes of everything but the inputs, at most.
_FRAME_BYTES = 500


def may_be_handed(new: NewExecution) -> bool:
    """Tell whether nothing has to be known about an execution but what one datagram holds."""
    return (
        new.lane == ORDINARY
        and new.lane_limit == 0
        and new.depth == 0
        and new.rerun_of_id is None
        and len(new.inputs.encode()) <= MAX_BYTES - _FRAME_BYTES
    )


def pack(new: NewExecution) -> bytes:
    """Write an execution for ``unpack``."""
    return dumps([new.id, new.graph_id, new.graph_version, new.user_id, new.inputs]).encode()


def unpack(text: bytes) -> Claimed | None:
    """Give what was handed over as if it had just been claimed; None where the text is no such thing.

    Nobody need believe it: what is recorded of it is written only where the row says the same.
    """
    try:
        id_, graph_id, version, user_id, inputs = orjson.loads(text)
        return Claimed(id_, graph_id, version, user_id, loads(inputs), attempt=1, depth=0, is_handed=True)
    except (ValueError, TypeError):
        return None
