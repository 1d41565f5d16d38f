-- Which business date it was when a command was carried out: the log knows, since only these two commands move the date.
CREATE INDEX command_log_of_days ON market.command_log (seq) WHERE kind IN ('OpenMarket', 'RollDay');

CREATE VIEW market.business_day AS
    SELECT seq AS since_seq, coalesce(body->>'to', body->>'business_date')::date AS business_date
    FROM market.command_log WHERE kind IN ('OpenMarket', 'RollDay');

REVOKE ALL ON market.business_day FROM PUBLIC;
GRANT SELECT ON market.business_day TO debt_market_engine, debt_market_gateway;
