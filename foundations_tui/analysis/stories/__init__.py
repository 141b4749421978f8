"""What jobs and sweeps tell of themselves, from evidence: pure functions; ``text.story`` puts it into words."""
