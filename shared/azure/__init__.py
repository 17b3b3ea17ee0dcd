"""Azure's storage: where a URL points, how to sign in there, and what a refusal means."""
