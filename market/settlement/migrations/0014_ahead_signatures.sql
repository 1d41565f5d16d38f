-- A signed request is good once. What was signed before a start of the service is refused for its time alone; but who has
-- a clock ahead of ours may have used a signature before a restart whose time only comes after it. Those are remembered here.

CREATE TABLE market.ahead_signature (
    signature text PRIMARY KEY,
    signed_at timestamptz NOT NULL
);

REVOKE ALL ON market.ahead_signature FROM PUBLIC;
GRANT SELECT, INSERT, DELETE ON market.ahead_signature TO debt_market_gateway;
