"""Thin adapters to other libraries; none of them is imported until it is used."""
