"""What a refused request is answered."""

from __future__ import annotations

from ui.shared.strings import units

NO_ROUTE = "There is nothing at this address; open the page itself."

SIGN_IN_FIRST = "Sign in on the page first; this address needs it."

NO_STREAM = "Nothing is left to wait for here: the answer was read already, or the server was started again."

TOO_MANY_DOWNLOADS = "Other downloads are being written; try again in a moment."

BODY_TOO_SLOW = "The request came too slowly and was given up; send it again."

NO_FILES_HERE = "Files cannot be sent or named here; choose the picture on the page."

PAYLOAD_TOO_LARGE = "The page sent more than this event takes; reload the page and try again."

HALF_CHARACTER = "The text holds half a character (a lone surrogate); type it again."


def bad_payload(field: str) -> str:
    """Return the sentence for what a page sent in a form that is not known here."""
    what = f"{field} in a form" if field else "something"
    return f"The page sent {what} that this event does not take; reload the page and try again."


def cannot_read(missing: str) -> str:
    """Return the sentence for a request of a program that is not what its function takes."""
    what = f"{missing} is missing" if missing else "The request is not in the form that this address takes"
    return f"{what}; see /gradio_api/info for the functions and their parameters."


def foreign_host(name: str) -> str:
    """Return the sentence for a request to a name under which the page is not served."""
    what = f"{name} is not" if name else "The Host header is missing or is not"
    return f"{what} a name of this server; open it as 127.0.0.1, or give --allowed-host NAME."


FOREIGN_ORIGIN = "This was sent by a page of another site; open the studio itself and do it there."


def wait_to_sign_in(seconds: int) -> str:
    """Return the sentence for passwords that come too soon after wrong ones."""
    return f"Too many wrong passwords; wait {seconds} s, then try again."


def body_too_large(most_bytes: int) -> str:
    """Return the sentence for a request that sends too much."""
    return f"The request is too large; at most {units.bytes_(most_bytes)} can be sent at once."
