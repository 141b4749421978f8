"""What keys do: with jobs, with hosts, looking into a job, and what the prompt asks.

An action gets what it works on from the app; pages and panes only name it.
"""
