"""How REST APIs and webhooks of others are called over HTTP."""
