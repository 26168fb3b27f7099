"""Entrepot, an OCI registry pull-through cache."""

__version__ = "0.1.0"
