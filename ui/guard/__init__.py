"""What stands between strangers and the page: hosts, routes, files, bodies, headers, sign-in, payloads."""
