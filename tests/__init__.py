"""The tests: fast ones first, then the real parts, then faults."""
