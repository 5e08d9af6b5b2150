"""A certificate authority that speaks ACME (RFC 8555) over HTTPS, and looks at challenges over real connections."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import socket
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.servers.certificates import Certificates
from tests.servers.ports import free_port

LOOK_S = 5.0  # for one look at a challenge
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


class Problem(Exception):
    """An answer of RFC 7807. `kind`: "malformed", "badNonce", …"""

    def __init__(self, kind: str, detail: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        self.value = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}


@dataclass
class Account:
    uri: str
    key: ec.EllipticCurvePublicKey
    thumbprint: str
    contact: list[str]
    bound_to: str | None = None


@dataclass
class Authorization:
    name: str
    token: str
    status: str = "pending"
    kind: str | None = None  # of the challenge that was chosen
    problem: dict[str, Any] | None = None


@dataclass
class Order:
    account: Account
    names: tuple[str, ...]
    authorizations: list[int]
    status: str = "pending"
    chain: str | None = None
    looks: int = 0  # at the order since it was to be issued


@dataclass
class AcmeServer:
    """`http_port`, `tls_port`: where names are looked at, instead of 80 and 443 of the hosts that they name."""

    certificates: Certificates
    http_port: int = 0
    tls_port: int = 0
    life_s: float = 3600.0
    age_s: float = 0.0  # of a certificate that is issued
    offers: tuple[str, ...] = ("http-01", "tls-alpn-01", "dns-01")
    bad_nonces: int = 0  # so many of the next nonces are refused
    refusals: list[tuple[str, Problem]] = field(default_factory=list)  # for the next request whose path begins so
    directory_text: str | None = None  # instead of what belongs there
    bindings: dict[str, str] = field(default_factory=dict)  # kid -> key of external accounts; some: needed
    requests: list[str] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    issued: list[tuple[str, ...]] = field(default_factory=list)
    looks: list[tuple[str, str]] = field(default_factory=list)  # (kind, name) that were looked at

    def __post_init__(self) -> None:
        self.port = free_port()
        self._nonces: set[str] = set()
        self._authorizations: list[Authorization] = []
        self._lock = threading.RLock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {"Replay-Nonce": owner._nonce(), "Cache-Control": "no-store"}
                try:
                    status, more, value = owner._answer(self.command, self.path, self.headers, body)
                    kind = "application/pem-certificate-chain" if isinstance(value, str) else "application/json"
                except Problem as problem:
                    status, more, value, kind = problem.status, problem.headers, problem.value, "problem+json"
                    kind = f"application/{kind}"
                data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
                self.send_response(status)
                for name, text in {**headers, **more, "Content-Type": kind, "Content-Length": str(len(data))}.items():
                    self.send_header(name, text)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_POST = handle_any

            def log_message(self, *args: Any) -> None:
                """The tests look at `requests`."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                """A client that went away."""

            def finish_request(self, request: Any, address: Any) -> None:
                with context.wrap_socket(request, server_side=True) as secured:
                    self.RequestHandlerClass(secured, address, self)

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificates.server)
        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def directory(self) -> str:
        return self._url("/directory")

    def _url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    # ---- requests

    def _nonce(self) -> str:
        nonce = secrets.token_urlsafe(16)
        self._nonces.add(nonce)
        return nonce

    def _answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], Any]:
        with self._lock:
            self.requests.append(path)
            for entry in self.refusals:
                if path.startswith(entry[0]):
                    self.refusals.remove(entry)
                    raise entry[1]
            if path == "/directory" and self.directory_text is not None:
                return 200, {}, self.directory_text
            if path == "/directory":
                names = {"newNonce": "/new-nonce", "newAccount": "/new-account", "newOrder": "/new-order"}
                meta = {"termsOfService": self._url("/terms"), "externalAccountRequired": bool(self.bindings)}
                return 200, {}, {**{name: self._url(at) for name, at in names.items()}, "meta": meta}
            if path == "/new-nonce":
                return 200, {}, {}
            if method != "POST":
                raise Problem("malformed", "method not allowed", 405)
            if headers.get("Content-Type") != "application/jose+json":
                raise Problem("malformed", "no application/jose+json", 415)
            protected, account, payload = self._opened(path, body)
            if path == "/new-account":
                return self._new_account(protected, payload)
            assert account is not None
            return self._of_account(account, path, payload)

    def _opened(self, path: str, body: bytes) -> tuple[dict[str, Any], Account | None, Any]:
        """A signed request: its header, whose it is, what it says."""
        message = json.loads(body)
        protected = json.loads(_bytes(message["protected"]))
        if protected["nonce"] not in self._nonces or self.bad_nonces:
            self.bad_nonces = max(0, self.bad_nonces - 1)
            raise Problem("badNonce", "this nonce was used, or never given")
        self._nonces.remove(protected["nonce"])
        if protected["url"] != self._url(path):
            raise Problem("unauthorized", f"signed for {protected['url']}", 401)
        if protected["alg"] != "ES256":
            raise Problem("badSignatureAlgorithm", "only ES256")
        account = None
        if path == "/new-account":
            key = _key(protected["jwk"])
        else:
            account = next((one for one in self.accounts if one.uri == protected["kid"]), None)
            if account is None:
                raise Problem("accountDoesNotExist", f"there is no account {protected['kid']}")
            key = account.key
        signature = _bytes(message["signature"])
        r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        signed = f"{message['protected']}.{message['payload']}".encode()
        try:
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise Problem("unauthorized", "the signature is wrong", 401) from None
        return protected, account, json.loads(_bytes(message["payload"])) if message["payload"] else None

    def _new_account(self, protected: dict[str, Any], payload: Any) -> tuple[int, dict[str, str], Any]:
        key = protected["jwk"]
        thumbprint = _thumbprint(key)
        found = next((one for one in self.accounts if one.thumbprint == thumbprint), None)
        if found is not None:
            return 200, {"Location": found.uri}, {"status": "valid", "contact": found.contact}
        if payload.get("onlyReturnExisting"):
            raise Problem("accountDoesNotExist", "there is no account with this key")
        if not payload.get("termsOfServiceAgreed"):
            raise Problem("userActionRequired", "the terms of service must be agreed to", 403)
        bound_to = self._bound(payload.get("externalAccountBinding"), key) if self.bindings else None
        uri = self._url(f"/account/{len(self.accounts)}")
        account = Account(uri, _key(key), thumbprint, payload.get("contact", []), bound_to)
        self.accounts.append(account)
        return 201, {"Location": uri}, {"status": "valid", "contact": account.contact}

    def _bound(self, binding: Any, key: dict[str, Any]) -> str:
        if binding is None:
            raise Problem("externalAccountRequired", "an external account is needed", 403)
        kid = json.loads(_bytes(binding["protected"]))["kid"]
        code = hmac.HMAC(_bytes(self.bindings.get(kid, "")) or b"?", hashes.SHA256())
        code.update(f"{binding['protected']}.{binding['payload']}".encode())
        try:
            code.verify(_bytes(binding["signature"]))
        except InvalidSignature:
            raise Problem("unauthorized", "the external account's key is wrong", 403) from None
        if json.loads(_bytes(binding["payload"]))["x"] != key["x"]:
            raise Problem("malformed", "the binding is for another key")
        return str(kid)

    def _of_account(self, account: Account, path: str, payload: Any) -> tuple[int, dict[str, str], Any]:
        _, what, *rest = path.split("/")
        if what == "account":
            account.contact = (payload or {}).get("contact", account.contact)
            return 200, {}, {"status": "valid", "contact": account.contact}
        if what == "new-order":
            return self._new_order(account, payload)
        number = int(rest[0])
        if what == "authorization":
            return 200, {}, self._authorization(number)
        if what == "challenge":
            up = f'<{self._url(f"/authorization/{number}")}>;rel="up"'
            return 200, {"Link": up}, self._look_at(account, number, rest[1], payload)
        order = self.orders[number]
        if order.account is not account:
            raise Problem("unauthorized", "somebody else's order", 403)
        if what == "finalize":
            self._finalize(order, payload)
        elif what == "certificate":
            assert order.chain is not None
            return 200, {}, order.chain
        return 200, {"Location": self._url(f"/order/{number}")}, self._order(number)

    # ---- orders

    def _new_order(self, account: Account, payload: Any) -> tuple[int, dict[str, str], Any]:
        names = tuple(one["value"] for one in payload["identifiers"] if one["type"] == "dns")
        if not names or len(names) != len(payload["identifiers"]):
            raise Problem("unsupportedIdentifier", "names only")
        numbers = range(len(self._authorizations), len(self._authorizations) + len(names))
        self._authorizations += [Authorization(name, secrets.token_urlsafe(24)) for name in names]
        self.orders.append(Order(account, names, list(numbers)))
        number = len(self.orders) - 1
        return 201, {"Location": self._url(f"/order/{number}")}, self._order(number)

    def _order(self, number: int) -> dict[str, Any]:
        order = self.orders[number]
        states = [self._authorizations[one].status for one in order.authorizations]
        if order.status == "pending" and "invalid" in states:
            order.status = "invalid"
        elif order.status == "pending" and all(state == "valid" for state in states):
            order.status = "ready"
        elif order.status == "processing":
            order.looks += 1
            if order.looks > 1:
                order.status = "valid"
        told = {
            "status": order.status,
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "authorizations": [self._url(f"/authorization/{one}") for one in order.authorizations],
            "finalize": self._url(f"/finalize/{number}"),
        }
        return told | ({"certificate": self._url(f"/certificate/{number}")} if order.status == "valid" else {})

    def _authorization(self, number: int) -> dict[str, Any]:
        one = self._authorizations[number]
        return {
            "status": one.status,
            "identifier": {"type": "dns", "value": one.name},
            "challenges": [self._challenge(number, kind) for kind in self.offers],
        }

    def _challenge(self, number: int, kind: str) -> dict[str, Any]:
        one = self._authorizations[number]
        told = {"type": kind, "url": self._url(f"/challenge/{number}/{kind}"), "token": one.token, "status": "pending"}
        if one.kind == kind:
            told["status"] = "processing" if one.status == "pending" else one.status
            if one.problem is not None:
                told["error"] = one.problem
        return told

    def _finalize(self, order: Order, payload: Any) -> None:
        self._order(self.orders.index(order))
        if order.status != "ready":
            raise Problem("orderNotReady", f"the order is {order.status}", 403)
        request = x509.load_der_x509_csr(_bytes(payload["csr"]))
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = request.public_key()
        if not request.is_signature_valid or set(names.get_values_for_type(x509.DNSName)) != set(order.names):
            raise Problem("badCSR", "the request is for other names")
        assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        since = datetime.now(UTC) - timedelta(seconds=self.age_s)
        order.chain = self.certificates.certify(key, order.names, since, since + timedelta(seconds=self.life_s))
        order.status = "processing"
        self.issued.append(order.names)

    # ---- looking

    def _look_at(self, account: Account, number: int, kind: str, payload: Any) -> dict[str, Any]:
        one = self._authorizations[number]
        if payload == {} and one.kind is None:
            one.kind = kind
            wanted = f"{one.token}.{account.thumbprint}"
            threading.Thread(target=self._look, args=(one, kind, wanted), daemon=True).start()
        return self._challenge(number, kind)

    def _look(self, one: Authorization, kind: str, wanted: str) -> None:
        try:
            (self._look_http if kind == "http-01" else self._look_tls)(one, wanted)
        except Problem as problem:
            one.problem, one.status = problem.value, "invalid"
        except (OSError, http.client.HTTPException) as error:
            one.problem, one.status = Problem("connection", str(error)).value, "invalid"
        else:
            one.status = "valid"
        self.looks.append((kind, one.name))

    def _look_http(self, one: Authorization, wanted: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=LOOK_S)
        try:
            connection.request("GET", f"/.well-known/acme-challenge/{one.token}", headers={"Host": one.name})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200 or body.decode("latin-1").rstrip() != wanted:
            raise Problem("unauthorized", f"{answer.status}: {body[:100]!r} instead of {wanted}", 403)

    def _look_tls(self, one: Authorization, wanted: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        with (
            socket.create_connection(("127.0.0.1", self.tls_port), timeout=LOOK_S) as raw,
            context.wrap_socket(raw, server_hostname=one.name) as tls,
        ):
            chosen, der = tls.selected_alpn_protocol(), tls.getpeercert(binary_form=True)
            assert der is not None
            ended = tls.recv(1) == b""
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        shown = certificate.extensions.get_extension_for_oid(ACME_IDENTIFIER)
        digest = b"\x04\x20" + hashlib.sha256(wanted.encode()).digest()
        right = shown.critical and shown.value.public_bytes() == digest
        if chosen != "acme-tls/1" or list(names) != [x509.DNSName(one.name)] or not right or not ended:
            raise Problem("unauthorized", f"{chosen}, {list(names)}, {shown}", 403)


def _bytes(text: str) -> bytes:
    """Of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _key(jwk: dict[str, Any]) -> ec.EllipticCurvePublicKey:
    if (jwk.get("kty"), jwk.get("crv")) != ("EC", "P-256"):
        raise Problem("badPublicKey", "only P-256")
    x, y = (int.from_bytes(_bytes(jwk[name]), "big") for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def _thumbprint(jwk: dict[str, Any]) -> str:
    """RFC 7638."""
    text = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
