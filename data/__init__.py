"""Small reference tables, and the registry of public data sets."""
