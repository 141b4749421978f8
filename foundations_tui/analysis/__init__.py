"""Jobs side by side: in what they differ, which is best, their curves and the first difference of their logs.

It reads the store and draws text; it knows no widget and no host.
"""
