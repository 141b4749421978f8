"""The operating system as the agent uses it: processes and their identity, sockets, the login shell."""
