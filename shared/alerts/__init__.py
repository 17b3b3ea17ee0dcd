"""What is worth an alert, and how it gets to people.

The door: ``decide`` (what is worth one; pure), ``formats`` (how the receiver wants it), ``send``.
"""
