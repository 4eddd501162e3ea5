"""All English that a visitor reads, by place; and how numbers are written."""
