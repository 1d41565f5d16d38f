"""Every REST route, with who may call it. A test looks at each."""

from gateway.rest import accounts, admin, loans, orders, public

ROUTES = (*public.ROUTES, *loans.ROUTES, *orders.ROUTES, *accounts.ROUTES, *admin.ROUTES)
