"""What panes show, without a widget: rows, curves, lines of logs, facts of a job.

Everything here can be tested without a terminal.
"""
