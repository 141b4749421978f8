"""The terminal app: panes see rows of the store and messages, never a host."""
