"""Pure parts, and rules of the code base: no process, no server."""
