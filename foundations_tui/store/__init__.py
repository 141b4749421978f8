"""The local store: one SQLite file (``db``, ``migrations``), its writes, its named queries and their rows."""
