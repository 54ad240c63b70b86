"""An image that is here, given to the runtime of the host; see :mod:`prestow.handover.runtime`."""
