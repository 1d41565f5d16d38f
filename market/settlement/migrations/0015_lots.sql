-- Lots: of what acquisitions a claim is made (market.venue.lots). One row per claim, one array per column of its lots.
-- Written in the same statement as the batch, and like it only by the holder of the lease.

CREATE TABLE market.lots (
    account_id text NOT NULL,
    loan_id    text NOT NULL,
    faces      bigint[] NOT NULL CONSTRAINT lots_positive CHECK (0 < ALL (faces)),
    acquired   date[] NOT NULL,
    transfers  integer[] NOT NULL CONSTRAINT lots_transfers_not_negative CHECK (0 <= ALL (transfers)),
    PRIMARY KEY (account_id, loan_id),
    CONSTRAINT lots_in_columns
        CHECK (cardinality(faces) = cardinality(acquired) AND cardinality(faces) = cardinality(transfers))
) WITH (fillfactor = 80);
COMMENT ON TABLE market.lots IS 'By date and number of transfers; the faces of a row sum to the position';

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.lots
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('rows_are_never_deleted');

-- Call it in one statement with commit_batch, after it. p_claims: the positions that the batch moved, as they are now.
CREATE FUNCTION market.commit_lots(p_epoch bigint, p_seq bigint, p_lots market.lots[], p_claims market.position[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_mergejoin = off
SET enable_hashjoin = off SET enable_material = off SET jit = off
AS $$
DECLARE
    culprit text;
BEGIN
    IF cardinality(p_lots) = 0 AND cardinality(p_claims) = 0 THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM market.lease WHERE epoch = p_epoch AND seq = p_seq) THEN
        RAISE EXCEPTION 'epoch % at seq % is not the lease', p_epoch, p_seq USING ERRCODE = 'ZF001';
    END IF;
    INSERT INTO market.lots SELECT * FROM unnest(p_lots)
        ON CONFLICT (account_id, loan_id) DO UPDATE SET (faces, acquired, transfers) =
            (excluded.faces, excluded.acquired, excluded.transfers);
    SELECT format('%s %s: %s', c.account_id, c.loan_id, c.face) INTO culprit
        FROM unnest(p_claims) c LEFT JOIN market.lots l USING (account_id, loan_id)
        WHERE c.face <> (SELECT coalesce(sum(face), 0) FROM unnest(l.faces) face) LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('lots_make_the_position', culprit);
    END IF;
END;
$$;

-- Claims of before this migration: every issue and trade in order, each trade out of the seller's lots by date and
-- transfers, oldest first. An issue's business date is that of the last command before it that moved the date.
DO $$
DECLARE
    moved    record;
    sold     record;
    left_    bigint;
    part     bigint;
BEGIN
    CREATE TEMPORARY TABLE old_lot (
        account_id text, loan_id text, acquired date, transfers integer, face bigint,
        PRIMARY KEY (account_id, loan_id, acquired, transfers)
    ) ON COMMIT DROP;
    FOR moved IN
        SELECT e.entry_id, p.account_id AS buyer, NULL AS seller, p.asset AS loan_id, p.amount AS face, (
            SELECT coalesce(body->>'to', body->>'business_date')::date FROM market.command_log
            WHERE kind IN ('OpenMarket', 'RollDay') AND seq <= e.seq ORDER BY seq DESC LIMIT 1
        ) AS on_date
        FROM market.journal_entry e JOIN market.posting p ON p.entry_id = e.entry_id
        WHERE e.kind = 'issuance' AND p.unit = 'face' AND p.account_id <> 'ISSUE'
        UNION ALL
        SELECT e.entry_id, t.buyer, t.seller, t.loan_id, t.quantity, t.business_date
        FROM market.trade t JOIN market.journal_entry e ON e.kind = 'trade' AND e.reference = t.trade_id::text
        ORDER BY entry_id
    LOOP
        IF moved.seller IS NULL THEN
            INSERT INTO old_lot AS o VALUES (moved.buyer, moved.loan_id, moved.on_date, 0, moved.face)
                ON CONFLICT (account_id, loan_id, acquired, transfers) DO UPDATE SET face = o.face + excluded.face;
            CONTINUE;
        END IF;
        left_ := moved.face;
        FOR sold IN
            SELECT * FROM old_lot WHERE account_id = moved.seller AND loan_id = moved.loan_id ORDER BY acquired, transfers
        LOOP
            EXIT WHEN left_ = 0;
            part := least(left_, sold.face);
            left_ := left_ - part;
            IF part = sold.face THEN
                DELETE FROM old_lot WHERE account_id = sold.account_id AND loan_id = sold.loan_id
                    AND acquired = sold.acquired AND transfers = sold.transfers;
            ELSE
                UPDATE old_lot SET face = face - part WHERE account_id = sold.account_id AND loan_id = sold.loan_id
                    AND acquired = sold.acquired AND transfers = sold.transfers;
            END IF;
            INSERT INTO old_lot AS o VALUES (moved.buyer, moved.loan_id, moved.on_date, sold.transfers + 1, part)
                ON CONFLICT (account_id, loan_id, acquired, transfers) DO UPDATE SET face = o.face + excluded.face;
        END LOOP;
    END LOOP;
    INSERT INTO market.lots
        SELECT account_id, loan_id, coalesce(array_agg(l.face ORDER BY acquired, transfers) FILTER (WHERE l.face > 0), '{}'),
               coalesce(array_agg(acquired ORDER BY acquired, transfers) FILTER (WHERE l.face > 0), '{}'),
               coalesce(array_agg(transfers ORDER BY acquired, transfers) FILTER (WHERE l.face > 0), '{}')
        FROM market.position p LEFT JOIN old_lot l USING (account_id, loan_id)
        WHERE account_id <> 'ISSUE' GROUP BY account_id, loan_id;
    DROP TABLE old_lot;
END;
$$;

-- The shipped profile is complete now: loans that were put under it before have its new rules as well.
UPDATE market.loan SET rulebook = (rulebook::jsonb || '{"min_holding_days": 30, "max_transfers": 10}')::json
    WHERE rulebook->>'name' = 'cn-strict';

REVOKE ALL ON market.lots FROM PUBLIC;
REVOKE ALL ON FUNCTION market.commit_lots FROM PUBLIC;
GRANT SELECT ON market.lots TO debt_market_engine, debt_market_gateway;
GRANT EXECUTE ON FUNCTION market.commit_lots TO debt_market_engine;
