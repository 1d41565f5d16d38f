-- Orders by yield: the yield they were placed at, and whether their price goes on following it.
ALTER TABLE market.orders
    ADD COLUMN limit_yield_ppm integer,
    ADD COLUMN pegged boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT orders_yield_by_type CHECK ((order_type = 'yield') = (limit_yield_ppm IS NOT NULL)),
    ADD CONSTRAINT orders_peg_needs_yield CHECK (NOT pegged OR limit_yield_ppm IS NOT NULL);
