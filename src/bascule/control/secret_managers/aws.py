"""AWS Secrets Manager, through botocore (the extra bascule[aws]), in threads."""

from __future__ import annotations

import asyncio
from typing import Any

from bascule.control.secret_managers.manager import Documents, SecretFailure, SecretManager, member_of_text
from bascule.model.secret import AwsSecret

EXTRA = "it needs the extra bascule[aws]: pip install 'bascule[aws]'"


class Aws(SecretManager[str | None]):
    """A key is `name` or `name/field`: names may hold slashes, and the longest one that exists counts; what remains is
    a field of the JSON object that it holds. Raises SecretFailure when botocore isn't installed."""

    def __init__(self, conf: AwsSecret) -> None:
        try:
            import botocore.session  # noqa: F401
        except ImportError:
            raise SecretFailure(EXTRA) from None
        self._conf = conf
        self._what = f"AWS Secrets Manager ({conf.endpoint_url or conf.region})"
        self._client: Any = None
        self._making = asyncio.Lock()

    async def get(self, key: str, documents: Documents[str | None]) -> str:
        segments = key.strip("/").split("/")
        for end in range(len(segments), 0, -1):
            name, field = "/".join(segments[:end]), "/".join(segments[end:])
            text = await documents.get(name)
            if text is not None:
                return member_of_text(text, field, f'the secret "{name}" in {self._what}') if field else text
        raise SecretFailure(f'{self._what} has no secret "{key}", nor one that this is a field of', gone=True)

    async def ask(self, name: str) -> str | None:
        """None: there is no such secret."""
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make)
        return await asyncio.to_thread(self._ask, name)

    def _make(self) -> Any:
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        conf = self._conf
        try:
            return botocore.session.Session().create_client(
                "secretsmanager",
                region_name=conf.region,
                endpoint_url=conf.endpoint_url,
                aws_access_key_id=conf.access_key_id,
                aws_secret_access_key=conf.secret_access_key,
                aws_session_token=conf.session_token,
                config=Config(connect_timeout=3, read_timeout=7, retries={"total_max_attempts": 1}),
            )
        except (BotoCoreError, ValueError) as error:
            raise SecretFailure(f"{self._what} can't be asked: {error}") from None

    def _ask(self, name: str) -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_secret_value(SecretId=name)
        except ClientError as error:
            told = error.response.get("Error", {})
            code = told.get("Code")
            # A name with characters that no name has can't be one.
            if code in ("ResourceNotFoundException", "ValidationException"):
                return None
            raise SecretFailure(f'{self._what} answers for "{name}": {code}: {told.get("Message")}') from None
        except (BotoCoreError, OSError) as error:
            raise SecretFailure(f"{self._what} doesn't answer: {error}") from None
        if "SecretString" in answer:
            return str(answer["SecretString"])
        try:
            return bytes(answer["SecretBinary"]).decode()
        except (KeyError, UnicodeDecodeError):
            raise SecretFailure(f'the secret "{name}" in {self._what} is no text', gone=True) from None
