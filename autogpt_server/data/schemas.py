"""What on PostgreSQL belongs to one schema: several servers may stand beside each other in one database.

Tables are told apart by the search path of a connection; channels and advisory locks are the whole database's.
"""

from __future__ import annotations

#: SQL for the number of the schema that a connection works in; no other schema of the database has it.
SCHEMA_NUMBER = "quote_ident(current_schema())::regnamespace::oid"
