"""Token mixers for self-attention: `gspn` (one mixer), `adapter` (all of a UNet), `registry` (choices).

Import from the modules: `registry` is free of torch, so that the page may read it.
"""
