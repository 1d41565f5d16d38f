-- Partitions of one market: each has a ledger like this one, in a schema of its own, whose numbers begin elsewhere, and
-- in it a line of each account's cash. Cash moves from ledger to ledger: sent by one, received by another, each once.

ALTER TABLE market.lease ADD COLUMN origin bigint NOT NULL DEFAULT 0
    CONSTRAINT lease_origin_is_of_a_partition CHECK (origin % (1::bigint << 36) = 0);
COMMENT ON COLUMN market.lease.origin IS 'The number that the first command follows: which partition''s ledger this is, << 36';
CREATE TRIGGER origin_is_fixed BEFORE UPDATE ON market.lease FOR EACH ROW
    WHEN (NEW.origin <> OLD.origin AND OLD.epoch > 0) EXECUTE FUNCTION market.refuse('lease_only_advances');

CREATE OR REPLACE FUNCTION market.check_log() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_seq bigint;
    last_seq  bigint;
    lines     bigint;
    epochs    bigint;
    before    bigint;
BEGIN
    SELECT min(n.seq), max(n.seq), count(*), count(*) FILTER (WHERE n.epoch <> l.epoch), min(l.origin)
        INTO first_seq, last_seq, lines, epochs, before FROM new_rows n CROSS JOIN market.lease l;
    IF lines > 0 AND (lines <> last_seq - first_seq + 1 OR epochs > 0
            OR last_seq <> (SELECT seq FROM market.lease)
            OR (first_seq <> before + 1 AND NOT EXISTS (SELECT FROM market.command_log WHERE seq = first_seq - 1))) THEN
        PERFORM market.violated('log_is_gapless', format('lines %s to %s', first_seq, last_seq));
    END IF;
    RETURN NULL;
END;
$$;

-- /TRANSIT has what this ledger sent less what it received. Between the two the custodian's mirror may be positive: cash
-- that servicing paid into one ledger is withdrawn from another. All accounts have what is theirs, or more than nothing.
ALTER TABLE market.cash_balance DROP CONSTRAINT cash_not_negative;
ALTER TABLE market.cash_balance ADD CONSTRAINT cash_not_negative
    CHECK (CASE WHEN account_id IN ('CUSTODY', '/TRANSIT') THEN true WHEN account_id = 'ISSUE' THEN false ELSE total >= 0 END);

CREATE OR REPLACE FUNCTION market.check_new_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT n.account_id INTO culprit FROM new_rows n
        WHERE n.account_id NOT IN ('CUSTODY', 'ISSUE', '/TRANSIT')
          AND NOT EXISTS (SELECT FROM market.account a WHERE a.account_id = n.account_id) LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('balance_has_an_account', culprit);
    END IF;
    RETURN NULL;
END;
$$;

CREATE TABLE market.cash_move (
    move_id      text PRIMARY KEY,
    account_id   text NOT NULL CONSTRAINT cash_move_account_exists REFERENCES market.account,
    currency     text NOT NULL,
    amount       bigint NOT NULL CONSTRAINT cash_move_positive CHECK (amount > 0),
    to_partition integer NOT NULL,
    seq          bigint NOT NULL,
    at           bigint NOT NULL
);
COMMENT ON TABLE market.cash_move IS 'What left for the ledgers of other partitions; received there or on the way';
CREATE INDEX cash_move_by_receiver ON market.cash_move (to_partition, seq);
CREATE INDEX cash_move_by_seq ON market.cash_move (seq);

CREATE TABLE market.cash_receipt (
    sender     integer NOT NULL,
    move_id    text NOT NULL,
    account_id text NOT NULL CONSTRAINT cash_receipt_account_exists REFERENCES market.account,
    currency   text NOT NULL,
    amount     bigint NOT NULL CONSTRAINT cash_receipt_positive CHECK (amount > 0),
    sent_seq   bigint NOT NULL,
    all_before bigint NOT NULL CONSTRAINT cash_receipt_is_not_before_itself CHECK (all_before <= sent_seq),
    seq        bigint NOT NULL,
    at         bigint NOT NULL,
    CONSTRAINT cash_received_once PRIMARY KEY (sender, move_id)
);
-- What is below the highest all_before of a sender need not be remembered one by one.
COMMENT ON COLUMN market.cash_receipt.sent_seq IS 'The sender''s command that sent it';
COMMENT ON COLUMN market.cash_receipt.all_before IS 'What that sender''s earlier commands sent here is received';
CREATE INDEX cash_receipt_by_seq ON market.cash_receipt (seq);
CREATE INDEX cash_receipt_by_sent_seq ON market.cash_receipt (sender, sent_seq);
CREATE INDEX cash_receipt_by_all_before ON market.cash_receipt (sender, all_before);

CREATE TABLE market.cash_line (
    account_id text NOT NULL,
    currency   text NOT NULL,
    moved      bigint NOT NULL,  -- received less sent
    PRIMARY KEY (account_id, currency)
) WITH (fillfactor = 80);
COMMENT ON TABLE market.cash_line IS 'Of each cash balance, what came from other ledgers; no row: nothing ever moved';

CREATE UNIQUE INDEX cash_moves_once ON market.journal_entry (reference) WHERE kind = 'cash_move';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.cash_move
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('history_is_append_only');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.cash_receipt
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('history_is_append_only');
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.cash_line
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('rows_are_never_deleted');

-- Call it in one statement with commit_batch, after it: the lease must already stand at the end of the batch. A move that
-- is received must stand in the ledger that sent it, and one is only sent to where there is a ledger. It looks
-- moves up by index, whatever its tables held when a plan was made, and asks each sender once. Whoever says that all before
-- some number is received must have received all of it.
CREATE FUNCTION market.commit_moves(
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

-- A loan is in one ledger only. Whoever registers one waits for whoever does so in another ledger.
CREATE FUNCTION market.check_home() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    other   text;
    culprit text;
BEGIN
    IF to_regnamespace('market_1') IS NULL OR NOT EXISTS (SELECT FROM new_rows) THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(x'44454254'::int, 3);
    FOR other IN SELECT nspname FROM pg_namespace WHERE nspname ~ '^market(_[0-9]+)?$' AND nspname <> TG_TABLE_SCHEMA LOOP
        EXECUTE format('SELECT n.loan_id FROM new_rows n JOIN %I.loan l USING (loan_id) LIMIT 1', other) INTO culprit;
        IF culprit IS NOT NULL THEN
            PERFORM market.violated('loan_has_one_home', culprit);
        END IF;
    END LOOP;
    RETURN NULL;
END;
$$;
CREATE TRIGGER has_one_home AFTER INSERT ON market.loan
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_home();

REVOKE ALL ON market.cash_move, market.cash_receipt, market.cash_line FROM PUBLIC;
REVOKE ALL ON FUNCTION market.commit_moves, market.check_home FROM PUBLIC;
GRANT SELECT ON market.cash_move, market.cash_receipt, market.cash_line TO debt_market_engine, debt_market_gateway;
GRANT EXECUTE ON FUNCTION market.commit_moves TO debt_market_engine;
