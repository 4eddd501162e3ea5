"""Model families: what predicts, in which latents, along which noise path; one file per family.

`backbone` has the contracts, `registry` a row per family.
"""
