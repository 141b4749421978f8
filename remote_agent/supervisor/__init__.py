"""The one process that owns an attempt, from its folder to its exit record."""
