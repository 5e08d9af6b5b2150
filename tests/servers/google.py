"""Google's token endpoint and Secret Manager, as RFC 7523 and Google's REST reference have them."""

import base64
import json
import time
from typing import Any
from urllib.parse import parse_qs, unquote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tests.servers.web import JsonServer

EMAIL = "gateway@shop.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GoogleServer(JsonServer):
    """`secrets`: name -> text of the latest version, in the project "shop". `tokens`: those that are good now."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.tokens: list[str] = []
        self.life_s = 3600
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private_key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self._public = RSAKey.import_key(self.private_key)
        super().__init__()

    @property
    def account(self) -> dict[str, Any]:
        """The `auth_config` of a service account."""
        return {
            "client_email": EMAIL,
            "private_key": self.private_key,
            "project_id": "shop",
            "token_uri": f"{self.url}/token",
            "entries_uri": f"{self.url}/v1",
        }

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        if path == "/token":
            return self._token(method, parse_qs(body.decode()))
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, _error(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED")
        before, after = "/v1/projects/shop/secrets/", "/versions/latest:access"
        if method != "GET" or not path.startswith(before) or not path.endswith(after):
            return 404, b"<html>Not Found</html>"
        name = unquote(path[len(before) : -len(after)])
        if name not in self.secrets:
            told = f"Secret [projects/1/secrets/{name}] not found or has no versions."
            return 404, _error(404, told, "NOT_FOUND")
        data = base64.b64encode(self.secrets[name].encode()).decode()
        return 200, {"name": f"projects/1/secrets/{name}/versions/1", "payload": {"data": data, "dataCrc32c": "0"}}

    def _token(self, method: str, form: dict[str, list[str]]) -> tuple[int, Any]:
        if method != "POST" or form.get("grant_type") != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return 400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"}
        try:
            claims = jwt.decode(form["assertion"][0], self._public, algorithms=["RS256"]).claims
        except (JoseError, KeyError, ValueError):
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        good = {"iss": EMAIL, "scope": SCOPE, "aud": f"{self.url}/token"}
        if {name: claims.get(name) for name in good} != good or not claims["iat"] <= time.time() <= claims["exp"]:
            return 400, {"error": "invalid_grant", "error_description": f"Invalid claims {json.dumps(claims)}"}
        self.tokens.append(f"ya29.{len(self.requests)}")
        return 200, {"access_token": self.tokens[-1], "expires_in": self.life_s, "token_type": "Bearer"}


def _error(code: int, message: str, status: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status}}
