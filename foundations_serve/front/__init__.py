"""The front of a service: it passes each request on to the replica with the least to do, wherever it runs.

The client runs it on the user's machine (``foundations connect``), a host as a service of its own. It needs h11, which
uvicorn brings.
"""
