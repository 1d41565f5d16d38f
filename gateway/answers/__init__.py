"""What is answered, as types: one model per object of REST, from which the published contract is generated.

Nothing is rendered with these at run time (reads/schemas.py does that); the end-to-end tests read every answer back
through the model that its route declares, so the two can't drift apart. Keys may be added later: a client must pass
over what it does not know.
"""
