"""The sections of config.yaml about who may change the configuration, and where it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from bascule.errors.sentences import Refused
from bascule.model.attributes import Ip
from bascule.model.listen import ip_address
from bascule.model.quantity import duration_s, size_bytes

T = TypeVar("T")


def told(convert: Callable[[object], T]) -> BeforeValidator:
    """`convert` raises ValueError with the sentence that is shown."""

    def check(value: object) -> T:
        try:
            return convert(value)
        except ValueError as error:
            raise Refused(str(error)) from None

    return BeforeValidator(check)


Size = Annotated[int, told(size_bytes)]
Duration = Annotated[float, told(duration_s)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """Scalars are lax here: "9080" is a number, since an environment variable gives nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), populate_by_name=True)


class Address(Section):
    ip: Annotated[str, AfterValidator(ip_address)] = "127.0.0.1"
    port: Port


class KeyScope(Section):
    """What a key is bound to. `kinds`: resources that it may touch, None for all. `labels`: those that a resource must
    have, before and after."""

    kinds: tuple[str, ...] | None = None
    labels: dict[str, str] = {}


class AdminKey(Section):
    """`key` empty: one is generated at the first start and kept beside the store, readable by its owner alone."""

    name: Annotated[str, Field(min_length=1)] = "admin"
    key: str = ""
    role: Literal["admin", "viewer"] = "admin"
    scope: KeyScope | None = None


def _keys(value: object) -> object:
    return [{}] if value in (None, "", [], {}) else value


class AdminTls(Section):
    admin_ssl_cert: str = ""
    admin_ssl_cert_key: str = ""
    admin_ssl_ca_cert: str = ""


class Admin(Section):
    """deployment.admin. Bascule's default address is 127.0.0.1, not every one of the machine."""

    admin_key: Annotated[tuple[AdminKey, ...], BeforeValidator(_keys)] = (AdminKey(),)
    admin_key_required: bool = True
    allow_admin: tuple[Ip, ...] = ("127.0.0.0/24",)
    admin_listen: Address = Address(port=9180)
    # v2 is another name of the default of former days.
    admin_api_version: Literal["v3", "v2", "default"] = "v3"
    enable_admin_cors: bool = True
    https_admin: bool = False
    admin_api_mtls: AdminTls = AdminTls()
    # How long an answer to a write waits for every worker to serve it; a worker that is late doesn't make it fail.
    apply_timeout: Duration = 1.0


class EtcdTls(Section):
    cert: str | None = None
    key: str | None = None
    sni: str | None = None
    verify: bool = True
    ca: str | None = None


def _hosts(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Etcd(Section):
    """deployment.etcd. `timeout` in seconds, for one request; `watch_timeout`: a watch is renewed after so many."""

    host: Annotated[
        tuple[Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")], ...], Field(min_length=1), BeforeValidator(_hosts)
    ] = ("http://127.0.0.1:2379",)
    prefix: Annotated[str, Field(pattern=r"^/[^#]+$")] = "/apisix"
    timeout: Annotated[Duration, Field(gt=0)] = 30.0
    startup_retry: Annotated[int, Field(ge=1)] = 2
    watch_timeout: Annotated[Duration, Field(gt=0)] = 50.0
    user: str | None = None
    password: str | None = None
    tls: EtcdTls = EtcdTls()


class DataEncryption(Section):
    """apisix.data_encryption. No `keyring`: one is generated at the first start and kept beside the store; the default
    that APISIX publishes is only tried for reading."""

    enable_encrypt_fields: bool = True
    keyring: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(.{16}|.{32})$")], ...] | None,
        BeforeValidator(_hosts),
    ] = None


class StoreSection(Section):
    """bascule.store. `path`: the folder of the embedded store and of what is generated; relative to config.yaml's home.
    `history`: how many revisions are kept for `diff` and `rollback`."""

    path: Annotated[str, Field(min_length=1)] = "data"
    history: Annotated[int, Field(ge=1)] = 100_000
