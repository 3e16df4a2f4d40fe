"""``python -m ntkspec.cli`` is ``python -m ntkspec``, which stays quiet while it loads."""

import runpy

runpy.run_module("ntkspec", run_name="__main__", alter_sys=True)
