"""The client: CLI, terminal app, snapshot, SSH, sync, store."""

from remote_agent import __version__ as __version__  # the client ships the agent: one version of both
