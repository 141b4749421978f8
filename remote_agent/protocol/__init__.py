"""What client and agent say to each other: jobs, requests and answers, frames, errors.

Pure, and the only part of the agent that the client imports.
"""
