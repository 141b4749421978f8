"""The agent: what runs on a host. Standard library only, Python >= 3.8, shipped as one zipapp."""

__version__ = "0.1.0"

CODE_FOLDER = "code-"
"""How a folder begins that holds the agent unpacked and compiled; the id of the boot follows."""
