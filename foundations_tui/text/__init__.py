"""How things read: times and sizes in words, text that is safe on a terminal, command lines taken apart.

Pure: nothing here knows a job, a host or the store.
"""
