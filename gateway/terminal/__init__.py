"""A market-maker's terminal: one screen of what one owns, quotes and trades, on the public client. docs/terminal.md.

`desk` is what is known, and how old it is; `feed` keeps it; `acts` is what can be done; `screen` and what it is made of
show it. Only the last needs textual (the extra `tui`).
"""
