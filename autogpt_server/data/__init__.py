"""Everything that reads and writes the database."""

from autogpt_server.data import prisma_types

prisma_types.postpone()
