"""Work in Azure: what starts it, how it goes step by step, what it leaves behind, and who watches it."""
