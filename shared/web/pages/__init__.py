"""The status page: server-rendered HTML over what the app keeps of its runs."""
