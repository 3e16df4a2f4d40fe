"""Tables: texts in any dialect, and Parquet, with rules for which column is what."""

from ntkspec.datasets.tables.reader import TABLE_ENDINGS, read_table

__all__ = ["TABLE_ENDINGS", "read_table"]
