"""Whether a server can listen on an address, checked before anything is built."""

from __future__ import annotations

import errno
import os
import socket


def why_not_listen(host: str, port: int) -> str | None:
    """Return in one sentence why nothing can listen there, None if something can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                # As the server does, or a port that was just released would look taken.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return f"{host} is not a valid address; give --host 127.0.0.1, or 0.0.0.0 for the whole network."
    except PermissionError:
        return f"Port {port} may not be used by this user; choose one above 1023 with --port."
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} on {host} is taken by another program; choose another with --port."
        return (
            f"{host} is not an address of this machine ({error.strerror}); give --host 127.0.0.1 or 0.0.0.0."
        )
    return None
