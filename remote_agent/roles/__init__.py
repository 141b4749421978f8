"""What the zipapp does besides being the daemon: one short-lived process each, started over SSH or by a job."""
