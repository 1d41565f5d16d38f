-- Rulebooks that the operator defined, and what an originator's loans get that name none. A loan's row keeps the rules
-- that it trades by in full; a shipped rulebook that was never replaced has no row here.

CREATE TABLE market.rulebook (
    name  text PRIMARY KEY,
    rules json NOT NULL,  -- market.venue.rulebook.Rulebook
    seq   bigint NOT NULL,  -- of the command that last defined it
    CONSTRAINT rulebook_bears_its_name CHECK (rules->>'name' = name)
);

CREATE TABLE market.default_rulebook (
    account_id text PRIMARY KEY CONSTRAINT default_rulebook_account_exists REFERENCES market.account,
    rulebook   text,
    seq        bigint NOT NULL  -- of the command that last set it
);
COMMENT ON TABLE market.default_rulebook IS 'Originators that ever had one. No row, or null: the market''s own default';

DO $$
BEGIN
    EXECUTE (SELECT string_agg(format('CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION market.refuse(''rows_are_never_deleted'')', name), '; ')
        FROM unnest(ARRAY['rulebook', 'default_rulebook']) name);
END;
$$;

-- Call it in one statement with commit_batch, after it: the lease must already stand at the end of the batch.
CREATE FUNCTION market.commit_rules(
    p_epoch bigint, p_seq bigint, p_rulebooks market.rulebook[], p_defaults market.default_rulebook[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF cardinality(p_rulebooks) = 0 AND cardinality(p_defaults) = 0 THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM market.lease WHERE epoch = p_epoch AND seq = p_seq) THEN
        RAISE EXCEPTION 'epoch % at seq % is not the lease', p_epoch, p_seq USING ERRCODE = 'ZF001';
    END IF;
    INSERT INTO market.rulebook SELECT * FROM unnest(p_rulebooks)
        ON CONFLICT (name) DO UPDATE SET rules = excluded.rules, seq = excluded.seq;
    INSERT INTO market.default_rulebook SELECT * FROM unnest(p_defaults)
        ON CONFLICT (account_id) DO UPDATE SET rulebook = excluded.rulebook, seq = excluded.seq;
END;
$$;

REVOKE ALL ON market.rulebook, market.default_rulebook FROM PUBLIC;
REVOKE ALL ON FUNCTION market.commit_rules FROM PUBLIC;
GRANT SELECT ON market.rulebook, market.default_rulebook TO debt_market_engine, debt_market_gateway;
GRANT EXECUTE ON FUNCTION market.commit_rules TO debt_market_engine;
