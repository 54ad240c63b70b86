"""The types of blocks that prestow adds to a Prefect API: ``prefect block register -m prestow.blocks``.

Prefect finds this module by the entry point ``prefect.collections``. ``prestow deploy`` registers the types, too.
"""

from tasks.registry_credentials import RegistryCredentials

__all__ = ["RegistryCredentials"]
