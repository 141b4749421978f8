"""A host's jobs as the fold of its journal, and which of them start next.

Pure: clocks and ids are arguments.
"""
