"""Bodies of the errors that the gateway answers itself."""

from functools import lru_cache
from http import HTTPStatus

# As nginx says it, where it says something of its own: tools look for these words.
_OWN = {499: "Client Closed Request", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}


def reason_of(status: int) -> str:
    """Reason phrase; "" for a status without one."""
    try:
        return _OWN.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return ""


@lru_cache(maxsize=128)
def page(status: int) -> bytes:
    """A small HTML page, as every proxy answers; what went wrong stands in the log, not in the client's hands."""
    title = f"{status} {reason_of(status)}".rstrip()
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>Bascule</center>\r\n</body>\r\n</html>\r\n"
    ).encode()
