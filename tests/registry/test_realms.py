"""Which token services are given the credentials of a registry."""

import pytest

from prestow.registry.endpoints import endpoints
from prestow.registry.hosts import Options
from prestow.registry.realms import may_have_credentials
from prestow.registry.url import Url


@pytest.mark.parametrize(
    ("registry", "realm", "expected"),
    [
        ("registry.example.com", "https://registry.example.com/token", True),
        ("registry.example.com", "https://registry.example.com:8443/token", True),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("example.com", "https://auth.example.com/token", True),
        ("docker.io", "https://auth.docker.io/token", True),
        ("registry.example.com", "https://auth.docker.io/token", False),
        ("registry.example.com", "https://auth.example.com/token", False),
        ("registry.example.com", "https://evil/token", False),
        ("registry.example.com", "https://com/token", False),
        ("registry.example.com", "https://registry.example.com.evil/token", False),
        ("registry.example.com", "https://evilregistry.example.com/token", False),
        ("10.0.0.1:5000", "https://0.0.1/token", False),
        ("registry.example.com", "https://trusted.example/token", True),
        ("registry.digitalocean.com", "https://api.digitalocean.com/v2/registry/auth", True),
        ("registry.digitalocean.com:5000", "https://api.digitalocean.com/v2/registry/auth", False),
        ("registry.example.com", "https://api.digitalocean.com/v2/registry/auth", False),
        ("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", True),
        ("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.us-east-1.aliyuncs.com/auth", False),
        ("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com.evil/auth", False),
        ("registry.evil.x.aliyuncs.com", "https://dockerauth.evil.x.aliyuncs.com/auth", False),
        ("registry.aliyuncs.com", "https://dockerauth.aliyuncs.com/auth", False),
        ("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth-ee.cn-hangzhou.aliyuncs.com/auth", False),
        ("registry.cn-hangzhou.aliyuncs.com", "https://bucket.oss-cn-hangzhou.aliyuncs.com/auth", False),
        ("registry.cn-hangzhou.aliyuncs.com:5000", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", False),
        ("registry-vpc.cn-hangzhou.aliyuncs.com", "https://dockerauth-vpc.cn-hangzhou.aliyuncs.com/auth", True),
        ("registry-vpc.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", False),
        ("registry-internal.us-east-1.aliyuncs.com", "https://dockerauth-internal.us-east-1.aliyuncs.com/auth", True),
        ("registry-intl.us-east-1.aliyuncs.com", "https://dockerauth-intl.us-east-1.aliyuncs.com/auth", False),
        ("registry.cn-zhangjiakou.aliyuncs.com", "https://dockerauth-cn-zhangjiakou.aliyuncs.com/auth", True),
        ("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth-cn-zhangjiakou.aliyuncs.com/auth", False),
        ("registry-vpc.cn-zhangjiakou.aliyuncs.com", "https://dockerauth-cn-zhangjiakou.aliyuncs.com/auth", False),
        ("crpi-a1.cn-hangzhou.personal.cr.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", True),
        ("crpi-a1-vpc.cn-wuhan-lr.personal.cr.aliyuncs.com", "https://dockerauth-vpc.cn-wuhan-lr.aliyuncs.com/x", True),
        ("crpi-a1.cn-hangzhou.personal.cr.aliyuncs.com", "https://dockerauth.cn-shanghai.aliyuncs.com/auth", False),
        ("our-registry.cn-hangzhou.cr.aliyuncs.com", "https://dockerauth-ee.cn-hangzhou.aliyuncs.com/auth", True),
        ("our-registry.cn-hangzhou.cr.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", True),
        ("our-registry-vpc.us-east-1.cr.aliyuncs.com", "https://dockerauth-ee-vpc.us-east-1.aliyuncs.com/auth", True),
        ("our-registry-vpc.us-east-1.cr.aliyuncs.com", "https://dockerauth-ee.us-east-1.aliyuncs.com/auth", False),
        ("our-registry.cn-hangzhou.cr.aliyuncs.com", "https://dockerauth-ee.us-east-1.aliyuncs.com/auth", False),
        ("our.cn-hangzhou.cr.aliyuncs.com", "https://dockerauth-ee.cn-hangzhou.aliyuncs.com/auth", False),
        ("x.our-registry.cn-hangzhou.cr.aliyuncs.com", "https://dockerauth-ee.cn-hangzhou.aliyuncs.com/auth", False),
        (
            "a-registry.cn-hangzhou.cr.aliyuncs.com.evil",
            "https://dockerauth-ee.cn-hangzhou.aliyuncs.com",
            False,
        ),
        ("registry.gitlab.com", "https://gitlab.com.evil/jwt/auth", False),
        ("registry.example.com", "https://gitlab.com/jwt/auth", False),
        ("gitlab.example:5000", "https://auth.example.org/token", True),
        ("gitlab.example", "https://auth.example.org/token", False),
        ("other.example:5000", "https://auth.example.org/token", False),
        ("auth.example.org", "https://gitlab.example/token", False),
        ("docker.io", "https://hub.example.org/token", True),
    ],
)
def test_credentials_go_up_and_down_a_name_and_to_trusted_hosts(registry: str, realm: str, expected: bool) -> None:  # noqa: FBT001 - a table
    trusted = {"trusted.example", "gitlab.example:5000=auth.example.org", "docker.io=hub.example.org"}
    options = Options(trusted=frozenset(trusted))
    (endpoint,) = endpoints(registry, options, "pull")

    assert may_have_credentials(endpoint, Url.parse(realm), options) is expected
