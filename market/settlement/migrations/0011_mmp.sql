-- Market-maker protection: the limits that an account set for a group of its quotes, and whether they were reached. The
-- quotes themselves are in no table. Written in the same statement as the batch, and like it only by the lease's holder.

CREATE TABLE market.mmp (
    account_id text NOT NULL CONSTRAINT mmp_account_exists REFERENCES market.account,
    mmp_group  text NOT NULL,
    max_fills  bigint CONSTRAINT mmp_max_fills_positive CHECK (max_fills > 0),
    max_face   bigint CONSTRAINT mmp_max_face_positive CHECK (max_face > 0),
    window_ns  bigint NOT NULL CONSTRAINT mmp_window_positive CHECK (window_ns > 0),
    frozen     boolean NOT NULL,
    since_seq  bigint NOT NULL,  -- of the command that first set it
    PRIMARY KEY (account_id, mmp_group),
    CONSTRAINT mmp_has_a_bound CHECK (max_fills IS NOT NULL OR max_face IS NOT NULL)
);
COMMENT ON COLUMN market.mmp.frozen IS 'A limit was reached: no quotes of the group until it is reset';

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.mmp
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('rows_are_never_deleted');

-- Call it in one statement with commit_batch, after it: the lease must already stand at the end of the batch.
CREATE FUNCTION market.commit_mmp(p_epoch bigint, p_seq bigint, p_mmp market.mmp[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF cardinality(p_mmp) = 0 THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM market.lease WHERE epoch = p_epoch AND seq = p_seq) THEN
        RAISE EXCEPTION 'epoch % at seq % is not the lease', p_epoch, p_seq USING ERRCODE = 'ZF001';
    END IF;
    INSERT INTO market.mmp SELECT * FROM unnest(p_mmp)
        ON CONFLICT (account_id, mmp_group) DO UPDATE SET (max_fills, max_face, window_ns, frozen) =
            (excluded.max_fills, excluded.max_face, excluded.window_ns, excluded.frozen);
END;
$$;

REVOKE ALL ON market.mmp FROM PUBLIC;
REVOKE ALL ON FUNCTION market.commit_mmp FROM PUBLIC;
GRANT SELECT ON market.mmp TO debt_market_engine, debt_market_gateway;
GRANT EXECUTE ON FUNCTION market.commit_mmp TO debt_market_engine;
