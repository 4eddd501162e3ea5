"""What steers the sampling loop besides the backbone, one file per control.

`control` has the hooks, `registry` a row per control.
"""
