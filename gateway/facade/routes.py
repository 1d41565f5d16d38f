"""Every call of the façade, with who may make it. A test looks at each."""

from gateway.facade import private, public, reports

ROUTES = (*public.ROUTES, *reports.ROUTES, *private.ROUTES)
