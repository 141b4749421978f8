"""Hosts: a channel to a shell there (transport, local, ssh) and the agent behind it (shell, agent, bundle)."""
