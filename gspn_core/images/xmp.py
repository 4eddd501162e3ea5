"""The settings of a picture whole, in the XMP of a format that has no texts of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from gspn_core.images.png_text import MAX_TEXT_BYTES

_NAMESPACE = "urn:gspn-studio"
_NAME = f"{{{_NAMESPACE}}}settings"
# Characters that an XML document cannot hold as they are, and the quote that stands around the text.
_ESCAPED = re.compile("['\ud800-\udfff\ufffe\uffff]")


def xmp_of(info: Mapping[str, Any]) -> bytes:
    """Return the XMP that holds a picture's info (see `gspn_core.images.png.picture_info`)."""
    text = json.dumps(info, sort_keys=True, ensure_ascii=False)
    text = _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:gspn="{_NAMESPACE}" gspn:settings={quoteattr(text)}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def text_in(xmp: Any) -> str | None:
    """Return the text of a picture's info in its XMP, None where there is none or it is damaged.

    Editors write a property as an attribute or as an element.
    """
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    # Another tool's packet can be large.
    if not isinstance(xmp, bytes) or len(xmp) > 2 * MAX_TEXT_BYTES:
        return None
    try:
        # As text, so that no other encoding hides a document type, whose entities grow without end.
        text = xmp.decode("utf-8").strip("\0 \r\n\t")
        if "<!" in text or _NAMESPACE not in text:
            return None
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        return None
    for node in root.iter():
        found = node.text if node.tag == _NAME else node.get(_NAME)
        if found:
            return found if len(found) <= MAX_TEXT_BYTES else None
    return None
