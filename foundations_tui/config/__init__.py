"""What the user configures, and where it lies: hosts.toml, a project's foundations.toml, the app's own settings.

A file is read, checked as a whole, and told as a frozen dataclass; only ``hosts add`` and ``remove`` write one.
"""
