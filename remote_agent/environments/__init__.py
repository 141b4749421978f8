"""Environments: built once per recipe, sealed, and used by jobs as they are."""
