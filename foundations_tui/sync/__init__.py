"""Bringing the store up to date with the hosts, and files of jobs home.

Each stream has one cursor; a page and its cursor are stored in one transaction.
"""
