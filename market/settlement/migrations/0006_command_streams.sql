-- How far the engine has consumed the streams of commands that gateways write: recorded in the transaction of the batch
-- that carries the commands out, so that each takes effect exactly once, whatever the stream delivers again or forgets.

CREATE TABLE market.command_stream (
    stream   text   CONSTRAINT command_stream_pkey PRIMARY KEY,
    position text   NOT NULL, -- of the last command whose outcome is final
    epoch    bigint NOT NULL, -- of the engine that got so far
    seq      bigint NOT NULL  -- where the log stood then
);

-- Moves positions on, as part of a batch or, for a batch of refusals, alone: then the lock on the lease fences it.
CREATE FUNCTION market.commit_consumed(
    p_epoch bigint, p_seq bigint, p_streams text[], p_positions text[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF cardinality(p_streams) = 0 THEN
        RETURN;
    END IF;
    PERFORM FROM market.lease WHERE epoch = p_epoch AND seq = p_seq FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % at seq % is not the lease', p_epoch, p_seq USING ERRCODE = 'ZF001';
    END IF;
    INSERT INTO market.command_stream
        SELECT stream, position, p_epoch, p_seq FROM unnest(p_streams, p_positions) AS t (stream, position)
        ON CONFLICT (stream) DO UPDATE SET position = excluded.position, epoch = excluded.epoch, seq = excluded.seq;
END;
$$;

REVOKE ALL ON market.command_stream FROM PUBLIC;
REVOKE ALL ON FUNCTION market.commit_consumed FROM PUBLIC;
GRANT SELECT ON market.command_stream TO debt_market_engine, debt_market_gateway;
GRANT EXECUTE ON FUNCTION market.commit_consumed TO debt_market_engine;
