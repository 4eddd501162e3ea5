"""Operations on feature maps; `line_scan` is the one public name."""

from gspn_core.ops.line_scan import line_scan

__all__ = ["line_scan"]
