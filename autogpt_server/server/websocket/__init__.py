"""``WS /ws``: one connection that follows many executions, by their own ids or by that of their graph."""
