"""The page: draws what jobs tell. Free of torch and diffusers."""
