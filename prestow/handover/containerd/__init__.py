"""containerd, by gRPC on its socket."""
