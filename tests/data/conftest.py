from prisma_fixtures import db, engine_settings  # noqa: F401
