"""Schedules: jobs that a host submits by itself, asked for, listed and changed from here."""
