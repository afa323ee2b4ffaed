"""AWS on this machine: what stands in for it when there is no account."""
