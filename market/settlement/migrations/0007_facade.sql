-- The last nonce that each API key used in a private call of the façade: a call is good once, also after a restart.
CREATE TABLE market.facade_nonce (
    key   text PRIMARY KEY CONSTRAINT facade_nonce_key_exists REFERENCES market.api_key,
    nonce bigint NOT NULL CONSTRAINT facade_nonce_positive CHECK (nonce > 0)
);
REVOKE ALL ON market.facade_nonce FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE (nonce) ON market.facade_nonce TO debt_market_gateway;
