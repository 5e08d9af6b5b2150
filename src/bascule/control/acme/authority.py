"""One certificate authority, asked by the library `acme`. It blocks: to be called in a thread.

The library is an extra of the package and imported here only, when certificates are to be obtained.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, cast

import requests
from acme import challenges, errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.b64 import b64encode
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from bascule.control.acme.certificate_folder import CertificateFolder, Obtained, read_pair
from bascule.control.acme.challenge_certificate import pem_of
from bascule.control.acme.challenges import Challenge
from bascule.model.acme_settings import AcmeSection

NETWORK_S = 30  # for one answer of the authority
LEFT_ALONE_S = 8 * 86400.0  # at most, however long it wants to be; limits of a week are common
ORDER_S = 300.0  # for the checks, and again for the issuing
# Of every kind of challenge alike: what is sent is an empty object, RFC 8555 7.5.1.
LOOK_NOW = challenges.HTTP01Response(key_authorization="")


class AcmeFailure(Exception):
    """Why there is no certificate, in a sentence. `retry_after_s`: how long the authority wants to be left alone."""

    def __init__(self, sentence: str, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Order:
    """`pending`: what is to be answered before the authority is told to look."""

    resource: messages.OrderResource
    key: str
    pending: tuple[Challenge, ...]
    told: tuple[messages.ChallengeBody, ...]


class Authority:
    """`ca_file`: as a path that can be opened from here. Methods raise AcmeFailure."""

    def __init__(self, section: AcmeSection, folder: CertificateFolder, ca_file: str | None, agent: str) -> None:
        self._section = section
        self._folder = folder
        self._ca_file = ca_file
        self._agent = agent
        self._client: ClientV2 | None = None
        self._key: JWK | None = None
        self._last: requests.Response | None = None

    def order(self, names: Sequence[str]) -> Order:
        """Begins one for these names."""
        return cast(Order, self._asked(self._order, names))

    def fetch(self, order: Order) -> Obtained:
        """Tells the authority to look at what `order.pending` asked for, and waits for the certificate."""
        return cast(Obtained, self._asked(self._fetch, order))

    # ---- steps

    def _order(self, names: Sequence[str]) -> Order:
        client = self._connected()
        assert self._key is not None
        key = _new_key(self._section.key)
        resource = client.new_order(_signing_request(key, names))
        pending: list[Challenge] = []
        told: list[messages.ChallengeBody] = []
        thumbprint = b64encode(self._key.thumbprint()).decode()
        for authorization in resource.authorizations:
            if authorization.body.status == messages.STATUS_VALID:
                continue  # the authority remembers
            name = authorization.body.identifier.value
            offered = {body.chall.to_partial_json().get("type"): body for body in authorization.body.challenges}
            body = offered.get(self._section.challenge)
            if body is None:
                raise AcmeFailure(
                    f"{name}: the authority offers no {self._section.challenge}, only {', '.join(map(str, offered))}"
                )
            token = str(body.chall.to_partial_json()["token"])
            pending.append(Challenge(name, token, f"{token}.{thumbprint}"))
            told.append(body)
        return Order(resource, pem_of(key), tuple(pending), tuple(told))

    def _fetch(self, order: Order) -> Obtained:
        client = self._connected()
        for body in order.told:
            client.answer_challenge(body, LOOK_NOW)
        checked = client.poll_authorizations(order.resource, _deadline())
        finished = client.finalize_order(checked, _deadline())
        try:
            return read_pair(finished.fullchain_pem, order.key)
        except ValueError as error:
            raise AcmeFailure(f"the authority sent a certificate that can't be used: {error}") from None

    def _connected(self) -> ClientV2:
        """With an account; both are kept."""
        if self._client is not None:
            return self._client
        section = self._section
        account = self._folder.read_account()
        if account is None:
            account = {"directory": section.directory, "key": pem_of(ec.generate_private_key(ec.SECP256R1()))}
            self._folder.write_account(account)
        self._key = JWKEC.load(account["key"].encode())
        network = ClientNetwork(
            self._key,
            alg=ES256,
            verify_ssl=cast(Any, True if self._ca_file is None else self._ca_file),
            user_agent=self._agent,
            timeout=NETWORK_S,
        )
        network.session.hooks["response"].append(self._note)
        client = ClientV2(ClientV2.get_directory(section.directory, network), network)
        uri = account.get("uri")
        if uri is None or account.get("email") != section.email:
            uri = self._register(client, uri)
            self._folder.write_account(account | {"uri": uri, "email": section.email})
        network.account = messages.RegistrationResource(uri=uri, body=messages.Registration())
        self._client = client
        return client

    def _register(self, client: ClientV2, known: str | None) -> str:
        """The account's address. It may be there already, with another e-mail address."""
        section = self._section
        binding = None
        if section.eab is not None and known is None:
            assert self._key is not None
            binding = messages.ExternalAccountBinding.from_data(
                self._key.public_key(), section.eab.kid, section.eab.hmac_key, client.directory
            )
        contact = messages.NewRegistration.from_data(
            email=section.email, terms_of_service_agreed=True, external_account_binding=binding
        )
        try:
            return str(client.new_account(contact).uri)
        except errors.ConflictError as there:
            resource = messages.RegistrationResource(uri=there.location, body=messages.Registration())
            if section.email is not None:
                changed = messages.Registration.from_data(email=section.email)
                client.update_registration(resource, changed)
            return there.location

    # ---- failures

    def _note(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self._last = response

    def _asked(self, step: Any, argument: Any) -> Any:
        """What the step answers; every way in which it may fail as an AcmeFailure."""
        self._last = None
        try:
            return step(argument)
        except AcmeFailure:
            raise
        except messages.Error as error:
            if error.code == "accountDoesNotExist":
                self._forget_account()
            raise AcmeFailure(f"the authority refuses: {_problem(error)}", self._retry_after_s()) from None
        except errors.ValidationError as error:
            raise AcmeFailure("; ".join(_failed(error)), self._retry_after_s()) from None
        except errors.IssuanceError as error:
            raise AcmeFailure(f"the authority issues nothing: {_problem(error.error)}", self._retry_after_s()) from None
        except errors.TimeoutError:
            raise AcmeFailure(f"the authority did not come to an end within {ORDER_S:.0f} s") from None
        except requests.RequestException as error:
            raise AcmeFailure(f"{self._section.directory} can't be asked: {_reason(error)}") from None
        except OSError as error:
            raise AcmeFailure(f"{error.filename}: {(error.strerror or str(error)).lower()}") from None
        except (errors.Error, JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            text = str(error) or type(error).__name__
            raise AcmeFailure(f"what the authority answers is no ACME: {text[:300]}", self._retry_after_s()) from None

    def _forget_account(self) -> None:
        """The authority doesn't know it any more: the next try makes it anew, with the same key."""
        self._client = None
        account = self._folder.read_account()
        if account is not None:
            account.pop("uri", None)
            self._folder.write_account(account)

    def _retry_after_s(self) -> float | None:
        text = None if self._last is None or self._last.ok else self._last.headers.get("Retry-After")
        if text is None:
            return None
        if text.isascii() and text.isdigit():
            return min(float(text), LEFT_ALONE_S)
        try:
            return min(max(0.0, parsedate_to_datetime(text).timestamp() - time.time()), LEFT_ALONE_S)
        except (ValueError, OverflowError):
            return None


def _new_key(kind: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def _signing_request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, names: Sequence[str]) -> bytes:
    """PEM. The names stand in the extension only: the common name has room for 64 characters."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = request.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _deadline() -> datetime:
    return datetime.now() + timedelta(seconds=ORDER_S)  # noqa: DTZ005  (the library compares it with such a time)


def _problem(error: messages.Error) -> str:
    """ "rateLimited: too many certificates already issued" """
    return f"{error.code or error.typ}: {error.detail or error.title or 'it does not say why'}"


def _failed(error: errors.ValidationError) -> list[str]:
    return [
        f"{one.body.identifier.value}: {_problem(challenge.error)}"
        for one in error.failed_authzrs
        for challenge in one.body.challenges
        if challenge.error is not None
    ]


def _reason(error: requests.RequestException) -> str:
    """The innermost cause: the outer ones only repeat addresses."""
    cause: BaseException = error
    while True:
        inner = cause.args[0] if cause.args else None
        inner = getattr(cause, "reason", None) or (inner if isinstance(inner, BaseException) else None)
        if not isinstance(inner, BaseException):
            return str(cause) or type(cause).__name__
        cause = inner
