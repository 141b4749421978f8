"""Many jobs from one command: grids and random draws of parameters, and Optuna's search.

A sweep expands to requests; how they are submitted is not its business.
"""
