"""The pages of the app. Imports nothing: the command line names them without Textual."""

PAGES = ("overview", "jobs", "metrics", "log", "hosts", "compare", "queue")
"""By their key, 0 to 6."""
