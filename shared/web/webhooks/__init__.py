"""Notifications of other systems. One module per system: verify, then say what work it means. Pure."""
