"""Installing the platform on a cluster, from the same ``dachub.yaml`` that one machine uses."""
