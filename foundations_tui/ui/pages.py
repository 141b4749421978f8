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
NOTHING_SELECTED = "no job is selected; ctrl+n makes a new one"
"""Stands where a page is about a job, and there is none."""
