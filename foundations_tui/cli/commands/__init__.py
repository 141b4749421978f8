"""One file a verb, imported only when the verb is used: it parses, asks, calls the core and renders.

``registry`` one folder up says which file a verb is in.
"""
