"""The pages of the app. Imports nothing: the command line names them without Textual."""

KEYS = {
    "overview": "0",
    "jobs": "1",
    "metrics": "2",
    "log": "3",
    "hosts": "4",
    "compare": "5",
    "queue": "6",
    "race": "7",
    "models": "8",
    "services": "9",
}
"""The key of each page."""
PAGES = tuple(KEYS)
NOTHING_SELECTED = "no job is selected: page 1 lists them, ctrl+n makes one"
"""Stands where a page is about a job, and there is none."""
