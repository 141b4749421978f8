"""The command line and the agent, on real hosts."""
