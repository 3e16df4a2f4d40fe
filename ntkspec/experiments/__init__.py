"""Experiments: a frozen task in, a record out, no input or output."""
