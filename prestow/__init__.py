"""prestow's engine: containerd's data flow, from a registry to a running container, without Prefect.

The rooms, in the order in which data walks through them:

    registry/   resolve a reference, fetch manifests and layers (or read them from a layout on disk)
    content/    what was fetched, by digest
    layers/     what a layer means: compression, tar, tree, and its three sinks
    snapshots/  unpacked images under their chain IDs, and the writable snapshots of containers
    runtime/    image config to runtime spec, bundle, runc
    metadata/   names, snapshots, containers, leases

``store.node`` wires them into one opened store. Importing this package imports none of them.
"""

__version__ = "0.1.0"
