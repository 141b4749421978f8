"""The one process of a user on a host that answers clients, decides what starts, and writes the journal."""
