"""Step ``check_login``: a registry says whether it takes named credentials."""

from prestow.errors import InvalidError
from prestow.reference import is_domain
from tasks.journal import recorded_step
from tasks.opened import open_node
from tasks.policy import step


@step(lambda credentials, registry: f"check {credentials} at {registry}", version=1)
def check_login(home: str, credentials: str, registry: str) -> str:
    """Show the credentials to the registry, and return its name."""
    node = open_node(home)
    if not is_domain(registry):
        raise InvalidError(f"registry {registry!r}: expected host[:port], such as registry.example or docker.io")
    with recorded_step("check_login", registry):
        named = node.sources.find_named(credentials)
        if not named.fits(registry):
            raise InvalidError(f"credentials {credentials} are for {named.registry}, not for {registry}; name that one")
        node.sources.check_login(registry, named.credential)
    return registry
