"""AWS Secrets Manager by moto: an implementation of its API that others wrote."""

import sys
from pathlib import Path
from typing import Any

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

CREDENTIALS = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "secret", "region": "eu-central-1"}


class AwsServer:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        argv = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = ServerProcess(argv, directory / "output.log", cwd=directory)
        self.process.wait_connectable(self.port, timeout_s=30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def resource(self) -> dict[str, Any]:
        """A `secrets` resource."""
        return {**CREDENTIALS, "endpoint_url": self.url}

    def put(self, name: str, text: str | bytes) -> None:
        """Makes the secret, or its next version."""
        import botocore.session

        client = botocore.session.Session().create_client(
            "secretsmanager",
            region_name=CREDENTIALS["region"],
            endpoint_url=self.url,
            aws_access_key_id=CREDENTIALS["access_key_id"],
            aws_secret_access_key=CREDENTIALS["secret_access_key"],
        )
        try:
            value = {"SecretString": text} if isinstance(text, str) else {"SecretBinary": text}
            try:
                client.create_secret(Name=name, **value)
            except client.exceptions.ResourceExistsException:
                client.put_secret_value(SecretId=name, **value)
        finally:
            client.close()

    def stop(self) -> None:
        self.process.stop()
