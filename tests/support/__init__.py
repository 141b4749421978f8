"""Real parts for the tests: an sshd, agents that are ended by their own pid, the command line."""
