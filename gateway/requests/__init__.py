"""What may be asked: one strict model per request body, each with the command that it becomes.

A field of the wrong type or form is refused here, by name. What only the venue can judge is passed on in a value that
it refuses for the right reason: a price or quantity finer than its unit becomes 0 and a symbol that names no loan stays
whole, so that the venue's order of checks (duplicate id, loan, mode, price, quantity, ...) holds for them too.
"""
