-- commit_moves of 0023 by index, whatever its tables held when a plan was made, and with one question to each sender.
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
                       'WHERE m.move_id = r.move_id AND (m.account_id, m.currency, m.amount, m.to_partition) '
                       'IS NOT DISTINCT FROM (r.account_id, r.currency, r.amount, $3)) LIMIT 1',
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
