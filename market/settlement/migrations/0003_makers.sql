-- What an owner of orders may switch for good: the kill switch of an account, and client order ids that are used up
-- without an order. Written in the same statement as the batch, and like it only by the holder of the lease.

CREATE TABLE market.kill_switch (
    account_id text PRIMARY KEY CONSTRAINT kill_switch_account_exists REFERENCES market.account,
    blocked    boolean NOT NULL,
    seq        bigint NOT NULL  -- of the command that last switched it
);
COMMENT ON TABLE market.kill_switch IS 'Accounts that were ever blocked. No row: never blocked';

CREATE TABLE market.fenced_id (
    account_id      text NOT NULL CONSTRAINT fenced_id_account_exists REFERENCES market.account,
    client_order_id text NOT NULL,
    seq             bigint NOT NULL,
    PRIMARY KEY (account_id, client_order_id)
);
COMMENT ON TABLE market.fenced_id IS 'Client order ids of which was said, for good, that there is no such order';

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.kill_switch
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('rows_are_never_deleted');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.fenced_id
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('history_is_append_only');

-- A fenced id never gets an order, nor an id with an order a fence.
CREATE FUNCTION market.check_fenced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT format('%s of %s', n.client_order_id, n.account_id) INTO culprit FROM new_rows n
        JOIN market.orders o ON o.account_id = n.account_id AND o.client_order_id = n.client_order_id LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('fenced_id_has_no_order', culprit);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER has_no_order AFTER INSERT ON market.fenced_id
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_fenced();

-- Call it in one statement with commit_batch, after it: the lease must already stand at the end of the batch.
CREATE FUNCTION market.commit_controls(
    p_epoch bigint, p_seq bigint, p_switches market.kill_switch[], p_fenced market.fenced_id[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF cardinality(p_switches) = 0 AND cardinality(p_fenced) = 0 THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM market.lease WHERE epoch = p_epoch AND seq = p_seq) THEN
        RAISE EXCEPTION 'epoch % at seq % is not the lease', p_epoch, p_seq USING ERRCODE = 'ZF001';
    END IF;
    INSERT INTO market.kill_switch SELECT * FROM unnest(p_switches)
        ON CONFLICT (account_id) DO UPDATE SET blocked = excluded.blocked, seq = excluded.seq;
    INSERT INTO market.fenced_id SELECT * FROM unnest(p_fenced);
END;
$$;

REVOKE ALL ON market.kill_switch, market.fenced_id FROM PUBLIC;
REVOKE ALL ON FUNCTION market.check_fenced, market.commit_controls FROM PUBLIC;
GRANT SELECT ON market.kill_switch, market.fenced_id TO debt_market_engine, debt_market_gateway;
GRANT EXECUTE ON FUNCTION market.commit_controls TO debt_market_engine;
