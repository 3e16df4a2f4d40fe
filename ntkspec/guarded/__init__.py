"""Readers of files that may be damaged, for a process of its own, which may crash: ``python -m ntkspec.guarded``.

A library in C may loop, crash, or take all memory on a damaged file, or crash at the exit of the process that has read
it. So :mod:`ntkspec.storage.arrays` starts a process that reads in its place, with little more memory and time than
what is read needs. It imports no more than NumPy and that library, and nothing else of this package.
"""
