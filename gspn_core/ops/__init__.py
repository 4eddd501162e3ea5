"""Operations on feature maps: `line_scan`, and `merge_line_scan`, which adds up what it gives."""

from gspn_core.ops.line_scan import line_scan
from gspn_core.ops.merge import merge_line_scan

__all__ = ["line_scan", "merge_line_scan"]
