"""Which plugins there are, which are enabled, and where users' own come from."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Sequence
from types import MappingProxyType

from bascule.plugin.plugin import Plugin
from bascule.plugin.user_code import PluginCodeError, UserCode
from bascule.plugin.vetting import vet

PACKAGE = "bascule.plugins"
# What APISIX enables when config.yaml has no list `plugins`, and what is our own; of these Bascule enables what it has.
DEFAULT = frozenset(
    """
    acl ai ai-aliyun-content-moderation ai-aws-content-moderation ai-cache ai-lakera-guard ai-prompt-decorator
    ai-prompt-guard ai-prompt-template ai-proxy ai-proxy-multi ai-rag ai-rate-limiting ai-request-rewrite
    api-breaker attach-consumer-label authz-casbin authz-casdoor authz-keycloak aws-lambda azure-functions
    basic-auth body-transformer canary-release cas-auth chaitin-waf clickhouse-logger client-control
    consumer-restriction cors csrf
    data-mask datadog degraphql dingtalk-auth echo elasticsearch-logger example-plugin ext-plugin-post-req
    ext-plugin-post-resp ext-plugin-pre-req fault-injection feishu-auth file-logger forward-auth
    google-cloud-logging graphql-limit-count graphql-proxy-cache grpc-transcode grpc-web gzip hmac-auth http-dubbo
    http-logger inspect ip-restriction jwe-decrypt jwt-auth kafka-logger kafka-proxy key-auth lago ldap-auth
    ldap-auth-advanced limit-conn limit-count limit-req loggly loki-logger mcp-bridge mocking multi-auth
    oas-validator opa openfunction openid-connect openwhisk prometheus proxy-buffering proxy-cache proxy-control
    proxy-mirror proxy-rewrite public-api real-ip redirect referer-restriction request-collapsing request-id
    request-validation response-rewrite rocketmq-logger saml-auth serverless-post-function serverless-pre-function
    skywalking-logger sls-logger splunk-hec-logging syslog tcp-logger tencent-cloud-cls traffic-label traffic-split
    ua-restriction udp-logger uri-blocker websocket-limit wolf-rbac workflow zipkin
    """.split()  # noqa: SIM905 (a word per line reads no better)
)
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class UnknownPlugin(LookupError):
    """No plugin has this name."""


class PluginDisabled(LookupError):
    """The plugin exists, and the list `plugins` of config.yaml doesn't name it."""


class Registry:
    """Plugin classes by name, imported when first asked for.

    `enabled`: the list `plugins` of config.yaml; None: APISIX's default list. `unknown`: names of a list that no plugin
    has. `user`: names of modules or packages, or paths of Python files; what they define is enabled, and they are
    imported here and now. A user's module that can't be used is reported in `errors`; the others work."""

    def __init__(self, enabled: Sequence[str] | None = None, user: Sequence[str] = ()) -> None:
        self._built_in: dict[str, type[Plugin]] = {}
        self._enabled = DEFAULT if enabled is None else frozenset(enabled)
        self._existing = frozenset(built_in_names())
        self._code = {source: UserCode(source) for source in user}
        self._user: dict[str, type[Plugin]] = {}
        self._owner: dict[str, str] = {}  # plugin name -> the source that defines it
        self._errors: dict[str, str] = {}
        for source in self._code:
            self._load(source)
        self.unknown = tuple(sorted(set(enabled or ()) - self._existing - self._user.keys()))

    @property
    def errors(self) -> MappingProxyType[str, str]:
        """User source -> why it, or its newest text, can't be used."""
        return MappingProxyType(self._errors)

    def get(self, name: str) -> type[Plugin]:
        """Raises UnknownPlugin or PluginDisabled."""
        user = self._user.get(name)
        if user is not None:
            return user
        if name not in self._existing:
            raise UnknownPlugin(f"unknown plugin {name!r}")
        if name not in self._enabled:
            raise PluginDisabled(f"plugin {name!r} is not enabled: the list `plugins` of config.yaml leaves it out")
        found = self._built_in.get(name)
        if found is None:
            found = self._built_in[name] = _import_built_in(name)
        return found

    def names(self) -> tuple[str, ...]:
        """All enabled plugins, highest priority first."""
        names = (self._existing & self._enabled) | self._user.keys()
        return tuple(sorted(names, key=lambda name: (-self.get(name).priority, name)))

    def reload(self) -> tuple[str, ...]:
        """Imports users' changed code anew. Returns the names whose class changed, came or went. Code that fails
        leaves its previous classes in use, and an entry in `errors`."""
        before = dict(self._user)
        for source, code in self._code.items():
            if code.changed():
                self._load(source)
        names = before.keys() | self._user.keys()
        return tuple(sorted(name for name in names if before.get(name) is not self._user.get(name)))

    def _load(self, source: str) -> None:
        try:
            classes = self._code[source].load()
            named = {}
            for plugin in classes:
                vet(plugin)
                self._check_name(plugin, source)
                if plugin.name in named:
                    raise PluginCodeError(f"two classes have the name {plugin.name!r}")
                named[plugin.name] = plugin
        except PluginCodeError as error:
            self._errors[source] = f"{source}: {error}"
            return
        self._errors.pop(source, None)
        for name in [name for name, owner in self._owner.items() if owner == source]:
            del self._user[name], self._owner[name]
        self._user |= named
        self._owner |= dict.fromkeys(named, source)

    def _check_name(self, plugin: type[Plugin], source: str) -> None:
        owner = self._owner.get(plugin.name, source)
        if owner != source:
            raise PluginCodeError(f"plugin {plugin.name!r} is already defined by {owner}")
        if plugin.name in self._existing and not plugin.override:
            raise PluginCodeError(
                f"{plugin.__name__}: Bascule has a plugin {plugin.name!r}; choose another name, or set override = True"
            )

    def __repr__(self) -> str:
        return f"<registry {len(self._existing)} built in, {len(self._user)} of users, {len(self._errors)} errors>"


def built_in_names() -> list[str]:
    """Names of the plugins that Bascule brings, without importing them: the names of their files."""
    package = importlib.import_module(PACKAGE)
    return [found.name.replace("_", "-") for found in pkgutil.iter_modules(package.__path__) if found.name[0] != "_"]


def _import_built_in(name: str) -> type[Plugin]:
    if _NAME.fullmatch(name) is None:
        raise UnknownPlugin(f"unknown plugin {name!r}")
    module = importlib.import_module(f"{PACKAGE}.{name.replace('-', '_')}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Plugin) and getattr(value, "name", None) == name:
            return value
    raise UnknownPlugin(f"{module.__name__} defines no plugin named {name!r}")
