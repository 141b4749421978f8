"""What the agent keeps on a host's disk: the journal, snapshots, and each job's folder with its streams."""
