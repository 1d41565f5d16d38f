"""Every REST route, with who may call it and what it answers. A test looks at each."""

from gateway.rest import accounts, admin, docs, loans, orders, public, session, statistics

ROUTES = (
    *public.ROUTES,
    *loans.ROUTES,
    *statistics.ROUTES,
    *orders.ROUTES,
    *accounts.ROUTES,
    *session.ROUTES,
    *admin.ROUTES,
    *docs.ROUTES,
)
