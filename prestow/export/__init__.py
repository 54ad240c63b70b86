"""Images leave the store as an OCI archive or layout: what a site without a network pulls from."""
