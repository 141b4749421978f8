"""Widgets that know nothing of jobs."""
