"""Parts that every place uses: theme, markup, strings, the viewer."""
