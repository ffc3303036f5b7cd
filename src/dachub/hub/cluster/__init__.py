"""People's servers as pods of a cluster: what only a cluster has, without a word of sessions."""
