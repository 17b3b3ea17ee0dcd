"""What answers HTTP: the operations API and the webhooks of other systems."""
