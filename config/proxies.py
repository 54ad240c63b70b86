"""The proxies that the environment names, as curl and Go's net/http read it."""

import os
from collections.abc import Mapping


def proxy_variables(
    environment: Mapping[str, str] = os.environ,
) -> tuple[tuple[str, str] | None, tuple[str, str] | None, str]:
    """Return name and value of the variable that counts for ``https://``, and for ``http://``, and the exempt targets.

    ``https_proxy``, ``http_proxy`` and ``no_proxy`` win over the same in upper case, and a variable that is empty is
    none, both as in curl; ``all_proxy`` is for the schemes without a variable of their own, as in curl and not in Go.
    A CGI program gets a header ``Proxy`` of its client as ``HTTP_PROXY``, which therefore does not count in one.
    """
    cgi = bool(environment.get("REQUEST_METHOD"))

    def first(*names: str) -> tuple[str, str] | None:
        cases = [case for name in names for case in (name, name.upper()) if not (cgi and case == "HTTP_PROXY")]
        return next(((name, environment[name]) for name in cases if environment.get(name)), None)

    exempt = first("no_proxy")
    return first("https_proxy", "all_proxy"), first("http_proxy", "all_proxy"), exempt[1] if exempt else ""
