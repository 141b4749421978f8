"""The working tree frozen at submit: which files belong to it, and their git objects.

The user's repository is only read; everything is written to a shadow repository of ours.
"""
