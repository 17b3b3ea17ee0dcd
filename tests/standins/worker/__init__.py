"""Microsoft's own Python worker as a judge of function_app.py: what it refuses, the Functions host never sees."""
