"""The form: the settings and what helps to choose them."""
