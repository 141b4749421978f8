"""What breaks: power, processes and connections, at every point."""
