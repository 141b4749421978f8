"""A job on its way to a host: snapshot, place, ship what is missing, submit, remember.

``pipeline`` is the sentence; the other modules are its verbs.
"""
