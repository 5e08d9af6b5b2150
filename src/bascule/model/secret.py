"""Secret managers: where `$secret://manager/id/key` references lead."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, Strict, model_validator

from bascule.errors.apisix_text import ONE, ONE_OF_BOTH
from bascule.errors.sentences import Refused
from bascule.model.attributes import Bool, Model, Str, Time, one_of

Text = Annotated[str, Strict(), Field(min_length=1)]
Url = Annotated[str, Strict(), Field(pattern=r"^[^/]+://([\da-zA-Z.\-]+|\[[\da-fA-F:]+\])(:\d+)?")]


class Secret(Model):
    id: str | int | None = None
    create_time: Time | None = None
    update_time: Time | None = None


class VaultSecret(Secret):
    uri: Url
    prefix: Str
    token: Str
    namespace: Str | None = None


class AwsSecret(Secret):
    access_key_id: Text
    secret_access_key: Text
    session_token: Text | None = None
    region: Text = "us-east-1"
    endpoint_url: Url | None = None


class GcpAuthConfig(Model):
    client_email: Str
    private_key: Str
    project_id: Str
    token_uri: Str = "https://oauth2.googleapis.com/token"
    scope: tuple[Str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)
    entries_uri: Str = "https://secretmanager.googleapis.com/v1"


class GcpSecret(Secret):
    model_config = ConfigDict(json_schema_extra=one_of("auth_config", "auth_file"))

    auth_config: GcpAuthConfig | None = None
    auth_file: Str | None = None
    ssl_verify: Bool = True

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.auth_config is None) == (self.auth_file is None):
            text = ONE if self.auth_file is None else ONE_OF_BOTH
            raise Refused('needs exactly one of "auth_config" and "auth_file"', text)
        return self


MANAGERS: dict[str, type[Secret]] = {"vault": VaultSecret, "aws": AwsSecret, "gcp": GcpSecret}
