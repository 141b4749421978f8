"""What is done with jobs that exist, and who may do it: stop, delete, annotate, move, follow, wait.

An operation returns a result or raises an error of this package; it never prints or asks.
"""
