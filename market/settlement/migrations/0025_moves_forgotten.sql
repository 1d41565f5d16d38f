-- A receipt says where in the sender's log its move stands, and up to where all that was sent before is received here: what
-- is below the highest such number need not be remembered one by one.
ALTER TABLE market.cash_receipt ADD COLUMN sent_seq bigint NOT NULL DEFAULT 0;
ALTER TABLE market.cash_receipt ADD COLUMN all_before bigint NOT NULL DEFAULT 0
    CONSTRAINT cash_receipt_is_not_before_itself CHECK (all_before <= sent_seq);
COMMENT ON COLUMN market.cash_receipt.sent_seq IS 'The sender''s command that sent it';
COMMENT ON COLUMN market.cash_receipt.all_before IS 'What that sender''s earlier commands sent here is received';
CREATE INDEX cash_receipt_by_sent_seq ON market.cash_receipt (sender, sent_seq);
CREATE INDEX cash_receipt_by_all_before ON market.cash_receipt (sender, all_before);
CREATE INDEX cash_move_by_seq ON market.cash_move (seq);

-- Call it in one statement with commit_batch, after it: the lease must already stand at the end of the batch. A move that
-- is received must stand in the ledger that sent it, and one is only sent to where there is a ledger. It looks
-- moves up by index, whatever its tables held when a plan was made, and asks each sender once. Whoever says that all before
-- some number is received must have received all of it.
CREATE OR REPLACE FUNCTION market.commit_moves(
    p_epoch bigint, p_seq bigint, p_sent market.cash_move[], p_received market.cash_receipt[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_mergejoin = off
SET enable_hashjoin = off SET enable_material = off SET jit = off
AS $$
DECLARE
    here    bigint;
    move    record;
    culprit text;
BEGIN
    IF cardinality(p_sent) = 0 AND cardinality(p_received) = 0 THEN
        RETURN;
    END IF;
    SELECT origin >> 36 INTO here FROM market.lease WHERE epoch = p_epoch AND seq = p_seq;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % at seq % is not the lease', p_epoch, p_seq USING ERRCODE = 'ZF001';
    END IF;
    INSERT INTO market.cash_move SELECT * FROM unnest(p_sent);
    INSERT INTO market.cash_receipt SELECT * FROM unnest(p_received);
    FOR move IN SELECT sender, max(all_before) AS all_before, min(seq) AS seq FROM unnest(p_received) GROUP BY sender LOOP
        EXECUTE format('SELECT m.move_id FROM %I.cash_move m WHERE m.to_partition = $1 AND m.seq < $2 AND m.seq >= '
                       'coalesce((SELECT max(all_before) FROM market.cash_receipt WHERE sender = $3 AND seq < $4), 0) '
                       'AND NOT EXISTS (SELECT FROM market.cash_receipt r WHERE r.sender = $3 AND r.move_id = m.move_id) '
                       'LIMIT 1',
                       CASE move.sender WHEN 0 THEN 'market' ELSE 'market_' || move.sender END)
            INTO culprit USING here, move.all_before, move.sender, move.seq;
        IF culprit IS NOT NULL THEN
            PERFORM market.violated('cash_before_is_received', format('%s from %s', culprit, move.sender));
        END IF;
    END LOOP;
    FOR move IN SELECT * FROM unnest(p_sent) LOOP
        IF move.to_partition = here
                OR to_regclass(CASE move.to_partition WHEN 0 THEN 'market' ELSE 'market_' || move.to_partition END
                               || '.cash_receipt') IS NULL THEN
            PERFORM market.violated('cash_is_sent_to_a_ledger', move.move_id);
        END IF;
        PERFORM pg_notify('debt_market_cash', move.to_partition::text);
    END LOOP;
    FOR move IN SELECT DISTINCT sender FROM unnest(p_received) LOOP
        -- Counted, not joined, and compared by what is in no index but the key: else a plan may read all moves.
        EXECUTE format('SELECT r.move_id FROM unnest($1) r WHERE r.sender = $2 AND 1 <> (SELECT count(*) FROM %I.cash_move m '
                       'WHERE m.move_id = r.move_id AND (m.account_id, m.currency, m.amount, m.seq, m.to_partition) '
                       'IS NOT DISTINCT FROM (r.account_id, r.currency, r.amount, r.sent_seq, $3)) LIMIT 1',
                       CASE move.sender WHEN 0 THEN 'market' ELSE 'market_' || move.sender END)
            INTO culprit USING p_received, move.sender, here;
        IF culprit IS NOT NULL THEN
            PERFORM market.violated('cash_received_was_sent', format('%s from %s', culprit, move.sender));
        END IF;
    END LOOP;
    SELECT m.reference INTO culprit FROM (
        SELECT 'to ' || to_partition || ' ' || move_id AS reference, account_id, currency, -amount AS amount
            FROM unnest(p_sent)
        UNION ALL SELECT 'from ' || sender || ' ' || move_id, account_id, currency, amount FROM unnest(p_received)
    ) m WHERE 1 <> (
        SELECT count(*) FROM market.journal_entry e WHERE e.kind = 'cash_move' AND e.reference = m.reference AND 1 = (
            SELECT count(*) FROM market.posting p WHERE p.account_id = m.account_id AND p.entry_id = e.entry_id
                AND p.unit = 'cash' AND p.asset = m.currency AND p.amount = m.amount
        )
    ) LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('cash_move_has_its_entry', culprit);
    END IF;
    INSERT INTO market.cash_line AS l
        SELECT account_id, currency, sum(amount)::bigint FROM (
            SELECT account_id, currency, -amount AS amount FROM unnest(p_sent)
            UNION ALL SELECT account_id, currency, amount FROM unnest(p_received)
            UNION ALL SELECT '/TRANSIT', currency, amount FROM unnest(p_sent)
            UNION ALL SELECT '/TRANSIT', currency, -amount FROM unnest(p_received)
        ) moved GROUP BY account_id, currency
        ON CONFLICT (account_id, currency) DO UPDATE SET moved = l.moved + excluded.moved;
    SELECT format('%s: %s in balance, %s in moves', currency, b.total, l.moved) INTO culprit
        FROM market.cash_line l LEFT JOIN market.cash_balance b USING (account_id, currency)
        WHERE l.account_id = '/TRANSIT' AND l.moved IS DISTINCT FROM b.total LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('transit_is_what_moved', culprit);
    END IF;
END;
$$;
