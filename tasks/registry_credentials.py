"""Blocks with the credentials of registries: what a name ``block:NAME`` of credentials stands for.

A block is read from the API that records the run, each time that a registry asks who we are: a changed password counts
at once, and its value goes to nothing but the engine.
"""

from typing import Any, ClassVar

from httpx import TransportError
from prefect.blocks.core import Block
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, field_validator

from config.home import home_or_default
from prestow.errors import InvalidError, NotFoundError, UnavailableError
from prestow.reference import is_domain
from prestow.registry.credentials import Credential, Named, check_name
from prestow.store.node import open_node

# The logo of Prefect's own blocks for container registries. It takes the internet: Prefect's client refuses `data:`
# when it writes or reads a block type, though its server and UI would take it.
_LOGO = (
    "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/"
    "assets/block-logos/docker.png"
)


class RegistryCredentials(Block):
    """User and password, or an identity token, for a container registry; prestow's flows name them as block:NAME."""

    _block_type_name: ClassVar[str | None] = "Registry Credentials"
    _block_type_slug: ClassVar[str | None] = "registry-credentials"
    _logo_url: ClassVar[HttpUrl | None] = HttpUrl(_LOGO)
    _code_example: ClassVar[str | None] = (  # Prefect's UI puts a block's name in for the first BLOCK_NAME alone
        "```python\nfrom prestow.flows import RegistryCredentials, pull\n\n"
        'name = "BLOCK_NAME"\n'
        "RegistryCredentials.load(name).test()  # asks the registry, as check-credentials does\n"
        'pull("registry.example/team/app:1.0", credentials=f"block:{name}")\n```'
    )

    model_config = ConfigDict(hide_input_in_errors=True)  # a password is among the input

    username: str = Field(default="", description="User name; leave it empty with an identity token")
    password: SecretStr = Field(default=SecretStr(""), description="Password or access token of the user")
    identity_token: SecretStr = Field(default=SecretStr(""), description="Identity token, in the place of a password")
    registry: str = Field(
        default="",
        description="The one registry that may have them, as host[:port] such as registry.example; empty for any",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        """Take null, which earlier versions of this type had, for an empty field."""
        return "" if value is None else value

    def named(self, name: str) -> Named:
        """Return what the block has, checked here: Prefect's UI checks no more than the types.

        Raises:
            InvalidError: it has not exactly one of both kinds, or its registry is none.
        """
        username, password = self.username, self.password.get_secret_value()
        token = self.identity_token.get_secret_value()
        if bool(token) == bool(password) or bool(password) != bool(username):
            raise InvalidError(
                f"credentials {name}: set username and password in the block, or the identity token alone"
            )
        if self.registry and not is_domain(self.registry):
            raise InvalidError(f"credentials {name}: set registry in the block to a host[:port], such as docker.io")
        return Named(Credential(username, password or token), self.registry)

    def test(self, registry: str | None = None) -> None:
        """Ask the registry, from this host, whether it takes the credentials; ``registry`` if the block names none.

        Raises:
            InvalidError: neither names a registry, or a field of the block breaks a rule.
            UnauthorizedError: the registry refuses them.
            UnsupportedError: it answers without credentials.
            UnavailableError: it does not answer.
        """
        named = self.named(f"block:{self._block_document_name or 'unsaved'}")
        domain = named.registry or registry
        if domain is None or not named.fits(registry or domain):
            raise InvalidError(f"credentials: expected the registry that they are for, found {registry!r}; name it")
        open_node(home_or_default(None)).sources.check_login(domain, named.credential)


def register() -> None:
    """Register the type of the blocks at the API, so that its UI has a form for them; again makes it up to date."""
    try:
        RegistryCredentials.register_type_and_schema(_sync=True)  # type: ignore[call-arg]  # Prefect's decorator takes it
    except ObjectAlreadyExists:  # another process was here between Prefect's question and its answer
        RegistryCredentials.register_type_and_schema(_sync=True)  # type: ignore[call-arg]  # likewise


def find_named(name: str) -> Named:
    """Return what a name of credentials stands for at this process's Prefect API.

    Raises:
        InvalidError: the name or the block breaks a rule.
        NotFoundError: there is no such block.
        UnavailableError: the API does not answer.
    """
    block_name = check_name(name).removeprefix("block:")
    try:
        block: Any = RegistryCredentials.load(block_name, _sync=True)  # type: ignore[call-arg]  # Prefect's decorator takes it
    except ValueError:
        raise NotFoundError(
            f"credentials {name}: the Prefect API has no Registry Credentials block {block_name!r}; "
            "create it there, or name another"
        ) from None
    except RuntimeError:  # of a block whose fields have other types
        raise InvalidError(f"credentials {name}: the block is not valid; save it again") from None
    except (TransportError, PrefectHTTPStatusError) as error:
        raise UnavailableError(f"credentials {name}: the Prefect API fails ({type(error).__name__})") from error
    named: Named = block.named(name)
    return named
