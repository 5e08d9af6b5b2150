"""Bodies of the errors that the gateway answers itself."""

from functools import lru_cache
from http import HTTPStatus

_OWN = {499: "Client Closed Request"}


def reason_of(status: int) -> str:
    """Reason phrase; "" for a status without one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return _OWN.get(status, "")


@lru_cache(maxsize=128)
def page(status: int) -> bytes:
    """A small HTML page, as every proxy answers; what went wrong stands in the log, not in the client's hands."""
    title = f"{status} {reason_of(status)}".rstrip()
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>Bascule</center>\r\n</body>\r\n</html>\r\n"
    ).encode()
