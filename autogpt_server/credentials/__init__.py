"""Users' credentials: kept encrypted, refreshed, and given to blocks while they run."""
