import asyncio
import sys

import pytest
from pydantic import ValidationError, model_validator

from bascule.plugin.kit.redis import RedisConf, RedisMissing, redis_client, script_runner
from bascule.plugin.kit.testing import MemoryHost


class Conf(RedisConf):
    policy: str = "local"

    @model_validator(mode="after")
    def check(self):
        self.require_redis(self.policy)
        return self


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"policy": "redis"}, '"redis_host" is required when policy is "redis"'),
        ({"policy": "redis-cluster", "redis_cluster_nodes": ["a:1"]}, "redis_cluster_name"),
        ({"policy": "redis-cluster", "redis_cluster_nodes": ["abc"], "redis_cluster_name": "n"}, "must be host:port"),
        ({"policy": "redis-sentinel", "redis_master_name": "m"}, "redis_sentinels"),
        ({"policy": "redis-sentinel", "redis_sentinels": [{"host": "ab"}]}, "port"),
    ],
)
def test_what_a_policy_needs(conf, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Conf.model_validate(conf)


def test_local_needs_nothing():
    assert Conf.model_validate({}).redis_port == 6379


def test_one_client_per_settings():
    host = MemoryHost()
    conf = Conf.model_validate({"policy": "redis", "redis_host": "127.0.0.1"})
    assert redis_client(conf, "redis", host) is redis_client(conf, "redis", host)
    other = Conf.model_validate({"policy": "redis", "redis_host": "127.0.0.1", "redis_database": 1})
    assert redis_client(other, "redis", host) is not redis_client(conf, "redis", host)


def test_scripts_run_on_a_real_server(redis_server):
    server = redis_server("secret")
    conf = Conf.model_validate(
        {
            "policy": "redis",
            "redis_host": "127.0.0.1",
            "redis_port": server.port,
            "redis_password": "secret",
            "redis_timeout": 20_000,  # 200 at once, perhaps under a sanitizer
        }
    )
    script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"

    async def main():
        host = MemoryHost()
        run = script_runner(conf, "redis", host)
        client = redis_client(conf, "redis", host)
        try:
            counts = [await run(script, ["k"], [2]), await run(script, ["k"], [3])]
            await client.script_flush()
            counts.append(await run(script, ["k"], [1]))
            counts.append(await run(script, ["k"], [1]))
            return counts, await asyncio.gather(*(run(script, ["many"], [1]) for _ in range(200)))
        finally:
            await client.aclose()

    counts, many = asyncio.run(main())
    assert counts == [2, 5, 6, 7]
    assert sorted(many) == list(range(1, 201))


def test_sentinel_and_cluster_clients_are_made():
    async def main():
        host = MemoryHost()
        sentinel = Conf.model_validate(
            {
                "policy": "redis-sentinel",
                "redis_sentinels": [{"host": "127.0.0.1", "port": 1}],
                "redis_master_name": "m",
                "redis_role": "slave",
            }
        )
        assert "SentinelConnectionPool" in repr(redis_client(sentinel, "redis-sentinel", host))
        cluster = Conf.model_validate(
            {
                "policy": "redis-cluster",
                "redis_cluster_nodes": ["127.0.0.1:1", "127.0.0.1:2"],
                "redis_cluster_name": "c",
                "redis_cluster_ssl": True,
            }
        )
        client = redis_client(cluster, "redis-cluster", host)
        assert type(client).__name__ == "RedisCluster"
        await client.aclose()

    asyncio.run(main())


def test_other_policies_have_no_client():
    with pytest.raises(ValueError, match="'local'"):
        redis_client(Conf(), "local", MemoryHost())


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(RedisMissing, match=r"bascule\[redis\]"):
        redis_client(Conf(), "redis", MemoryHost())
