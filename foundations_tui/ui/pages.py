"""The pages of the app. Imports nothing: the command line names them without Textual."""

KEYS = {
    "overview": "0",
    "jobs": "1",
    "metrics": "2",
    "log": "3",
    "hosts": "4",
    "compare": "5",
    "queue": "6",
    "models": "8",
    "services": "9",
}
"""The key of each page; 7 is kept for what comes."""
PAGES = tuple(KEYS)
