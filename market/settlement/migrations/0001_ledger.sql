-- The ledger: what is written by the one engine, batch by batch, and the last line of defence of every invariant.
--
-- Amounts and face are bigint in minor units, prices are basis points of par, times are nanoseconds since 1970 UTC.
-- Rows that only grow (history) can't be changed by anyone, owner included. Balances, positions and all else that the
-- engine writes can only be written through market.commit_batch, whose first act is the fence: no role has direct rights.
-- Rules over several rows are checked once per statement on transition tables; rules over one row and its former self
-- are row triggers whose WHEN clause decides, so that the function behind it is entered only to refuse.

----------------------------------------------------------------------------------------------------------------- roles
-- Roles belong to the whole cluster, so that another database may be creating them at this very moment.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['debt_market_engine', 'debt_market_gateway'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        IF NOT pg_has_role(current_user, role_name, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO %I', role_name, current_user);
        END IF;
    END LOOP;
END;
$$;

--------------------------------------------------------------------------------------------------------- the writer's lease
CREATE TABLE market.lease (
    singleton boolean PRIMARY KEY DEFAULT true CONSTRAINT lease_is_one_row CHECK (singleton),
    epoch     bigint NOT NULL,
    seq       bigint NOT NULL CONSTRAINT lease_seq_not_negative CHECK (seq >= 0),
    holder    text NOT NULL,
    log_head  bytea NOT NULL CONSTRAINT lease_log_head_is_sha256 CHECK (octet_length(log_head) = 32)
);
COMMENT ON TABLE market.lease IS 'One row: who may write (epoch), up to where was written (seq), hash of the last log line';
INSERT INTO market.lease (epoch, seq, holder, log_head) VALUES (0, 0, '', decode(repeat('00', 32), 'hex'));

CREATE TABLE market.command_log (
    seq   bigint PRIMARY KEY,
    epoch bigint NOT NULL,
    at    bigint NOT NULL,
    actor text NOT NULL,
    kind  text NOT NULL,
    body  json NOT NULL,  -- json, not jsonb: the text is hashed and must stay as it was written
    hash  bytea NOT NULL CONSTRAINT command_log_hash_is_sha256 CHECK (octet_length(hash) = 32)
);
COMMENT ON COLUMN market.command_log.hash IS
    'sha256(hash of the line before || seq NUL at NUL actor NUL kind NUL body), numbers in decimal, text in UTF-8';

---------------------------------------------------------------------------------------------------- accounts, loans, market
CREATE TABLE market.market_state (
    singleton     boolean PRIMARY KEY DEFAULT true CONSTRAINT market_state_is_one_row CHECK (singleton),
    mode          text NOT NULL CONSTRAINT market_state_mode_known CHECK (mode IN ('open', 'cancel_only', 'post_only', 'halted')),
    business_date date NOT NULL
);

CREATE TABLE market.account (
    account_id  text PRIMARY KEY CONSTRAINT account_id_not_of_the_ledger CHECK (account_id NOT IN ('CUSTODY', 'ISSUE')),
    kind        text NOT NULL
        CONSTRAINT account_kind_known CHECK (kind IN ('investor', 'market_maker', 'originator', 'house')),
    name        text NOT NULL,
    owner_group text,
    risk_class  text,
    frozen      boolean NOT NULL,
    digest      bytea NOT NULL,
    since_seq   bigint NOT NULL  -- of the command that opened it: a rebuild lists accounts in this order
);

CREATE TABLE market.loan (
    loan_id                     text PRIMARY KEY,
    originator                  text NOT NULL CONSTRAINT loan_originator_exists REFERENCES market.account,
    currency                    text NOT NULL CONSTRAINT loan_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
    original_principal          bigint NOT NULL CONSTRAINT loan_principal_positive CHECK (original_principal > 0),
    outstanding_at_registration bigint NOT NULL CONSTRAINT loan_registered_within_principal
        CHECK (outstanding_at_registration BETWEEN 0 AND original_principal),
    annual_rate_ppm             bigint NOT NULL CONSTRAINT loan_rate_not_negative CHECK (annual_rate_ppm >= 0),
    repayment_method            text NOT NULL CONSTRAINT loan_repayment_method_known
        CHECK (repayment_method IN ('annuity', 'equal_principal', 'interest_only', 'bullet')),
    term_months                 integer NOT NULL CONSTRAINT loan_term_positive CHECK (term_months > 0),
    months_per_period           integer NOT NULL CONSTRAINT loan_period_positive CHECK (months_per_period > 0),
    issue_date                  date NOT NULL,
    first_due_date              date NOT NULL,
    day_count                   text NOT NULL,
    grade                       text NOT NULL,
    claim_type                  text NOT NULL,
    guarantee_kind              text NOT NULL,
    guarantee_name              text,
    guarantee_trigger_days      integer,
    guarantee_coverage          text NOT NULL,
    borrower_ref                text NOT NULL,
    purpose                     text NOT NULL,
    region                      text NOT NULL,
    documents                   json NOT NULL,
    transferable                boolean NOT NULL,
    never_late                  boolean NOT NULL,
    status                      text NOT NULL CONSTRAINT loan_status_known CHECK (status IN
        ('current', 'grace', 'late', 'default', 'repaid', 'bought_back', 'written_off', 'recovered')),
    outstanding                 bigint NOT NULL
        CONSTRAINT loan_outstanding_within_principal CHECK (outstanding BETWEEN 0 AND original_principal),
    issued                      bigint NOT NULL
        CONSTRAINT loan_issued_within_principal CHECK (issued BETWEEN 0 AND original_principal),
    paid                        integer NOT NULL CONSTRAINT loan_paid_not_negative CHECK (paid >= 0),
    halt_reason                 text,
    rulebook                    json NOT NULL,
    last_price                  bigint CONSTRAINT loan_last_price_positive CHECK (last_price > 0),
    digest                      bytea NOT NULL,
    since_seq                   bigint NOT NULL
);

----------------------------------------------------------------------------------------------------------- cash and claims
CREATE TABLE market.cash_balance (
    account_id text NOT NULL,
    currency   text NOT NULL,
    total      bigint NOT NULL CONSTRAINT cash_not_negative
        CHECK (CASE account_id WHEN 'CUSTODY' THEN total <= 0 WHEN 'ISSUE' THEN false ELSE total >= 0 END),
    PRIMARY KEY (account_id, currency)
) WITH (fillfactor = 80);
COMMENT ON TABLE market.cash_balance IS 'CUSTODY mirrors what the custodian holds, negative: each currency sums to zero';

CREATE TABLE market.position (
    account_id text NOT NULL,
    loan_id    text NOT NULL,
    face       bigint NOT NULL CONSTRAINT face_not_negative
        CHECK (CASE account_id WHEN 'ISSUE' THEN face <= 0 WHEN 'CUSTODY' THEN false ELSE face >= 0 END),
    cost       bigint NOT NULL CONSTRAINT cost_not_negative CHECK (cost >= 0),
    realised   bigint NOT NULL,
    PRIMARY KEY (account_id, loan_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE market.position IS 'Original face. ISSUE mirrors what was issued, negative: each loan sums to zero';
CREATE INDEX position_by_loan ON market.position (loan_id);

CREATE TABLE market.custody_movement (
    custody_ref text PRIMARY KEY,
    account_id  text NOT NULL,
    currency    text NOT NULL,
    amount      bigint NOT NULL CONSTRAINT custody_amount_not_zero CHECK (amount <> 0),
    digest      bytea NOT NULL,
    seq         bigint NOT NULL,
    at          bigint NOT NULL
);

CREATE TABLE market.journal_entry (
    entry_id  bigint PRIMARY KEY,
    kind      text NOT NULL,
    reference text NOT NULL,
    seq       bigint NOT NULL,
    at        bigint NOT NULL
);
CREATE UNIQUE INDEX trade_settles_once ON market.journal_entry (reference) WHERE kind = 'trade';

CREATE TABLE market.posting (
    account_id text NOT NULL,
    entry_id   bigint NOT NULL,
    leg_no     smallint NOT NULL,
    unit       text NOT NULL CONSTRAINT posting_unit_known CHECK (unit IN ('cash', 'face')),
    asset      text NOT NULL,
    leg        text NOT NULL,
    amount     bigint NOT NULL CONSTRAINT posting_amount_not_zero CHECK (amount <> 0),
    PRIMARY KEY (account_id, entry_id, leg_no)  -- by account: a statement reads one account's legs
);

------------------------------------------------------------------------------------------------------------ orders, trades
CREATE TABLE market.orders (
    order_id             bigint PRIMARY KEY,
    account_id           text NOT NULL,
    owner                text NOT NULL,
    loan_id              text NOT NULL,
    currency             text NOT NULL,
    client_order_id      text,
    side                 text NOT NULL CONSTRAINT orders_side_known CHECK (side IN ('buy', 'sell')),
    order_type           text NOT NULL,
    time_in_force        text NOT NULL,
    expire_at            bigint,
    price                bigint NOT NULL CONSTRAINT orders_price_positive CHECK (price > 0),
    quantity             bigint NOT NULL,
    filled               bigint NOT NULL,
    leaves               bigint NOT NULL,
    shown                bigint NOT NULL,
    cum_cost             bigint NOT NULL CONSTRAINT orders_cost_not_negative CHECK (cum_cost >= 0),
    turnover             bigint NOT NULL CONSTRAINT orders_turnover_not_negative CHECK (turnover >= 0),
    hold                 bigint NOT NULL,
    post_only            boolean NOT NULL,
    min_quantity         bigint,
    display_quantity     bigint,
    stp                  text NOT NULL,
    cancel_on_disconnect boolean NOT NULL,
    cancel_on_payment    boolean NOT NULL,
    cancel_on_reschedule boolean NOT NULL,
    session              text,
    tag                  text,
    status               text NOT NULL CONSTRAINT orders_status_known
        CHECK (status IN ('new', 'partially_filled', 'filled', 'canceled', 'expired', 'suspended')),
    cancel_reason        text,
    version              integer NOT NULL,
    priority             bigint NOT NULL,
    created_at           bigint NOT NULL,
    exec_id              text NOT NULL,
    exec_type            text NOT NULL,
    is_open              boolean NOT NULL,  -- a column of its own: an index on status would make every fill move the row
    engine_seq           bigint NOT NULL,   -- of the command that last changed the order, and its time
    updated_at           bigint NOT NULL,
    accepted_digest      bytea,             -- the first answer, repeated to whoever repeats the client order id
    accepted_status      text,
    accepted_filled      bigint,
    accepted_reason      text,
    CONSTRAINT orders_open_by_status CHECK (is_open = (status IN ('new', 'partially_filled', 'suspended'))),
    CONSTRAINT orders_add_up CHECK (filled >= 0 AND leaves >= 0 AND filled + leaves <= quantity
        AND (NOT is_open OR (leaves > 0 AND filled + leaves = quantity))),
    CONSTRAINT orders_shown_within_leaves CHECK (NOT is_open OR shown BETWEEN 0 AND leaves),
    CONSTRAINT orders_hold_ends_with_order CHECK (hold >= 0 AND (is_open OR hold = 0)),
    CONSTRAINT orders_answer_has_client_id CHECK ((accepted_digest IS NULL) = (accepted_status IS NULL)
        AND (accepted_digest IS NULL OR client_order_id IS NOT NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX client_order_id_used_once ON market.orders (account_id, client_order_id) WHERE client_order_id IS NOT NULL;
CREATE INDEX orders_of_account ON market.orders (account_id, order_id);
CREATE INDEX open_orders_of_account ON market.orders (account_id, order_id) WHERE is_open;

CREATE TABLE market.trade (
    trade_id         bigint PRIMARY KEY,
    loan_id          text NOT NULL,
    currency         text NOT NULL,
    price            bigint NOT NULL CONSTRAINT trade_price_positive CHECK (price > 0),
    quantity         bigint NOT NULL CONSTRAINT trade_quantity_positive CHECK (quantity > 0),
    taker_side       text NOT NULL CONSTRAINT trade_taker_side_known CHECK (taker_side IN ('buy', 'sell')),
    taker_order_type text NOT NULL,
    buy_order_id     bigint NOT NULL,
    sell_order_id    bigint NOT NULL,
    buyer            text NOT NULL,
    seller           text NOT NULL,
    current_face     bigint NOT NULL,
    principal        bigint NOT NULL,
    accrued          bigint NOT NULL,
    buyer_fee        bigint NOT NULL,
    seller_fee       bigint NOT NULL,
    ytm_ppm          bigint,
    business_date    date NOT NULL,
    seq              bigint NOT NULL,
    at               bigint NOT NULL,
    CONSTRAINT trade_between_two CHECK (buyer <> seller AND buy_order_id <> sell_order_id),
    CONSTRAINT trade_amounts_not_negative
        CHECK (current_face >= 0 AND principal >= 0 AND accrued >= 0 AND buyer_fee >= 0 AND seller_fee >= 0)
);
CREATE INDEX trade_by_loan ON market.trade (loan_id, trade_id);
CREATE INDEX trade_by_buyer ON market.trade (buyer, trade_id);
CREATE INDEX trade_by_seller ON market.trade (seller, trade_id);

CREATE TABLE market.execution (
    account_id text NOT NULL,
    sequence   bigint NOT NULL,
    engine_seq bigint NOT NULL,
    at         bigint NOT NULL,
    is_trade   boolean NOT NULL,
    rows       json NOT NULL,  -- the message's rows, for replay to its reader (market.settlement.codec)
    PRIMARY KEY (account_id, sequence)
);

------------------------------------------------------------------------------------------------------------------- extras
CREATE TABLE market.quarantine (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch     bigint NOT NULL,
    seq       bigint NOT NULL,  -- that it would have had
    at        bigint NOT NULL,
    actor     text NOT NULL,
    kind      text NOT NULL,
    body      text NOT NULL,
    error     text NOT NULL,
    noted_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE market.api_key (
    key        text PRIMARY KEY,
    account_id text NOT NULL CONSTRAINT api_key_account_exists REFERENCES market.account,
    secret     text NOT NULL,
    scopes     text[] NOT NULL
        CONSTRAINT api_key_scopes_known CHECK (scopes <@ ARRAY['read', 'trade', 'transfer', 'admin']),
    ip_allow   text[] NOT NULL DEFAULT '{}',
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    reason     text,
    revoked_at timestamptz
);
CREATE INDEX api_key_of_account ON market.api_key (account_id);

----------------------------------------------------------------------------------------------------- what must never happen
CREATE FUNCTION market.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'refused by %: % on market.%', TG_ARGV[0], lower(TG_OP), TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_ARGV[0], SCHEMA = 'market', TABLE = TG_TABLE_NAME;
END;
$$;

CREATE FUNCTION market.violated(p_constraint text, p_culprit text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is violated by %', p_constraint, p_culprit
        USING ERRCODE = 'check_violation', CONSTRAINT = p_constraint, SCHEMA = 'market';
END;
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['command_log', 'trade', 'journal_entry', 'posting', 'execution', 'custody_movement', 'quarantine']
    LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION market.refuse(''history_is_append_only'')', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['lease', 'market_state', 'account', 'loan', 'cash_balance', 'position', 'orders'] LOOP
        EXECUTE format('CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION market.refuse(''rows_are_never_deleted'')', name);
    END LOOP;
END;
$$;

CREATE TRIGGER only_advances BEFORE UPDATE ON market.lease FOR EACH ROW
    WHEN (NEW.epoch < OLD.epoch OR NEW.seq < OLD.seq) EXECUTE FUNCTION market.refuse('lease_only_advances');

CREATE TRIGGER date_only_advances BEFORE UPDATE ON market.market_state FOR EACH ROW
    WHEN (NEW.business_date < OLD.business_date) EXECUTE FUNCTION market.refuse('business_date_only_advances');

CREATE TRIGGER identity_is_fixed BEFORE UPDATE ON market.orders FOR EACH ROW
    WHEN ((NEW.order_id, NEW.account_id, NEW.loan_id, NEW.currency, NEW.side, NEW.created_at)
              IS DISTINCT FROM (OLD.order_id, OLD.account_id, OLD.loan_id, OLD.currency, OLD.side, OLD.created_at)
          OR (NEW.client_order_id, NEW.accepted_digest, NEW.accepted_status, NEW.accepted_filled, NEW.accepted_reason)
              IS DISTINCT FROM
             (OLD.client_order_id, OLD.accepted_digest, OLD.accepted_status, OLD.accepted_filled, OLD.accepted_reason))
    EXECUTE FUNCTION market.refuse('order_identity_is_fixed');
CREATE TRIGGER final_is_final BEFORE UPDATE ON market.orders FOR EACH ROW
    WHEN (NOT OLD.is_open OR NEW.filled < OLD.filled OR NEW.version < OLD.version)
    EXECUTE FUNCTION market.refuse('order_only_advances');

CREATE TRIGGER terms_are_fixed BEFORE UPDATE ON market.loan FOR EACH ROW
    WHEN ((NEW.loan_id, NEW.originator, NEW.currency, NEW.original_principal)
              IS DISTINCT FROM (OLD.loan_id, OLD.originator, OLD.currency, OLD.original_principal)
          OR NEW.issued < OLD.issued)
    EXECUTE FUNCTION market.refuse('loan_identity_is_fixed');

-- The log has no gap and ends where the lease stands, under the epoch that holds it.
CREATE FUNCTION market.check_log() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_seq bigint;
    last_seq  bigint;
    lines     bigint;
    epochs    bigint;
BEGIN
    SELECT min(n.seq), max(n.seq), count(*), count(*) FILTER (WHERE n.epoch <> l.epoch)
        INTO first_seq, last_seq, lines, epochs FROM new_rows n CROSS JOIN market.lease l;
    IF lines > 0 AND (lines <> last_seq - first_seq + 1 OR epochs > 0
            OR last_seq <> (SELECT seq FROM market.lease)
            OR (first_seq > 1 AND NOT EXISTS (SELECT FROM market.command_log WHERE seq = first_seq - 1))) THEN
        PERFORM market.violated('log_is_gapless', format('lines %s to %s', first_seq, last_seq));
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER log_is_gapless AFTER INSERT ON market.command_log
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_log();

-- Every posting belongs to an entry, and an entry's postings come together and sum to zero per asset.
CREATE FUNCTION market.check_postings() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT format('entry %s, %s', entry_id, asset) INTO culprit
        FROM new_rows GROUP BY entry_id, unit, asset HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('postings_sum_to_zero', culprit);
    END IF;
    SELECT n.entry_id::text INTO culprit
        FROM new_rows n WHERE NOT EXISTS (SELECT FROM market.journal_entry e WHERE e.entry_id = n.entry_id) LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('posting_has_its_entry', culprit);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER postings_balance AFTER INSERT ON market.posting
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_postings();

-- No trade without the journal entry that settles it.
CREATE FUNCTION market.check_trades() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT n.trade_id::text INTO culprit FROM new_rows n WHERE 1 <> (  -- not NOT EXISTS: as a join it may read all entries
        SELECT count(*) FROM market.journal_entry e WHERE e.kind = 'trade' AND e.reference = n.trade_id::text) LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('trade_has_its_entry', culprit);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER has_its_entry AFTER INSERT ON market.trade
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_trades();

-- Cash and face only move: what one statement adds in an asset it takes away in the same asset.
CREATE FUNCTION market.check_cash() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT currency INTO culprit FROM (
        SELECT currency, total FROM new_rows UNION ALL SELECT currency, -total FROM old_rows
    ) moved GROUP BY currency HAVING sum(total) <> 0 LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('cash_is_conserved', culprit);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER cash_is_conserved AFTER UPDATE ON market.cash_balance
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_cash();

CREATE FUNCTION market.check_face() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT loan_id INTO culprit FROM (
        SELECT loan_id, face FROM new_rows UNION ALL SELECT loan_id, -face FROM old_rows
    ) moved GROUP BY loan_id HAVING sum(face) <> 0 LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('face_is_conserved', culprit);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER face_is_conserved AFTER UPDATE ON market.position
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_face();

-- A balance begins at zero, for an account that exists.
CREATE FUNCTION market.check_new_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT n.account_id INTO culprit FROM new_rows n
        WHERE n.account_id NOT IN ('CUSTODY', 'ISSUE')
          AND NOT EXISTS (SELECT FROM market.account a WHERE a.account_id = n.account_id) LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('balance_has_an_account', culprit);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER has_an_account AFTER INSERT ON market.cash_balance
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_new_balances();
CREATE TRIGGER has_an_account AFTER INSERT ON market.position
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_new_balances();
CREATE TRIGGER begins_at_zero BEFORE INSERT ON market.cash_balance FOR EACH ROW
    WHEN (NEW.total <> 0) EXECUTE FUNCTION market.refuse('balances_begin_at_zero');
CREATE TRIGGER begins_at_zero BEFORE INSERT ON market.position FOR EACH ROW
    WHEN (NEW.face <> 0) EXECUTE FUNCTION market.refuse('balances_begin_at_zero');

-- Issued face is one fact in two places, the loan and the ledger account ISSUE: at the end of a transaction they agree.
-- SECURITY DEFINER: before PostgreSQL 18 a deferred trigger runs as whoever commits.
CREATE FUNCTION market.check_issued() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF (SELECT issued FROM market.loan WHERE loan_id = NEW.loan_id) IS DISTINCT FROM
       coalesce((SELECT -face FROM market.position WHERE account_id = 'ISSUE' AND loan_id = NEW.loan_id), 0) THEN
        PERFORM market.violated('positions_equal_issued_face', NEW.loan_id);
    END IF;
    RETURN NULL;
END;
$$;
CREATE CONSTRAINT TRIGGER issued_as_posted AFTER INSERT OR UPDATE OF issued ON market.loan
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION market.check_issued();
CREATE CONSTRAINT TRIGGER posted_as_issued AFTER INSERT OR UPDATE OF face ON market.position
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.account_id = 'ISSUE') EXECUTE FUNCTION market.check_issued();

-- An account's executions are numbered 1, 2, 3, ...
CREATE FUNCTION market.check_executions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT format('%s, %s to %s', n.account_id, n.lowest, n.highest) INTO culprit
        FROM (SELECT account_id, min(sequence) AS lowest, max(sequence) AS highest, count(*) AS messages
              FROM new_rows GROUP BY account_id) n
        WHERE n.messages <> n.highest - n.lowest + 1
           OR least(n.lowest - 1, 1) <> (  -- not NOT EXISTS: under OR that becomes a hash of the whole table
                  SELECT count(*) FROM market.execution e WHERE e.account_id = n.account_id AND e.sequence = n.lowest - 1)
        LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('executions_are_gapless', culprit);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER executions_are_gapless AFTER INSERT ON market.execution
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_executions();

---------------------------------------------------------------------------------------------------------------- the writer
-- Moves the lease on, or refuses: the first act of every batch. The row lock that it takes lasts until the batch's end,
-- and whoever raises the epoch waits for it: after that, seq tells for good whether the batch happened.
CREATE FUNCTION market.fence(p_epoch bigint, p_previous_seq bigint, p_next_seq bigint, p_log_head bytea)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE market.lease SET seq = p_next_seq, log_head = p_log_head WHERE epoch = p_epoch AND seq = p_previous_seq;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % at seq % is not the lease: %', p_epoch, p_previous_seq,
            (SELECT format('epoch %s at seq %s is, held by %s', epoch, seq, holder) FROM market.lease)
            USING ERRCODE = 'ZF001';
    END IF;
END;
$$;

-- Makes the caller, who goes by a name of its own, the only writer. p_renew: only if it is the holder; else no row.
CREATE FUNCTION market.raise_epoch(p_holder text, p_renew boolean)
RETURNS TABLE (epoch bigint, seq bigint, log_head bytea)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    UPDATE market.lease l SET epoch = l.epoch + 1, holder = p_holder
        WHERE NOT p_renew OR l.holder = p_holder RETURNING l.epoch, l.seq, l.log_head;
$$;

CREATE TYPE market.order_hold AS (order_id bigint, hold bigint);

-- One batch, every row of it or none. Rows come as arrays of the tables' own types; balances follow from the postings
-- alone, and must then be what the engine's memory says (p_cash, p_claims: totals of what the batch moved).
-- The settings keep one plan for good, by index: a batch is always small beside the tables, whatever they held when the
-- plan was made.
CREATE FUNCTION market.commit_batch(
    p_epoch bigint, p_previous_seq bigint, p_next_seq bigint, p_log_head bytea,
    p_log market.command_log[],
    p_market market.market_state[], p_accounts market.account[], p_loans market.loan[],
    p_custody market.custody_movement[],
    p_orders market.orders[], p_holds market.order_hold[],
    p_trades market.trade[], p_entries market.journal_entry[], p_postings market.posting[],
    p_executions market.execution[],
    p_cash market.cash_balance[], p_claims market.position[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_mergejoin = off
SET enable_hashjoin = off SET enable_material = off SET jit = off
AS $$
DECLARE
    culprit text;
BEGIN
    PERFORM market.fence(p_epoch, p_previous_seq, p_next_seq, p_log_head);
    INSERT INTO market.command_log SELECT * FROM unnest(p_log);
    IF cardinality(p_market) > 0 THEN
        INSERT INTO market.market_state SELECT * FROM unnest(p_market)
            ON CONFLICT (singleton) DO UPDATE SET mode = excluded.mode, business_date = excluded.business_date;
    END IF;
    IF cardinality(p_accounts) > 0 THEN
        INSERT INTO market.account SELECT * FROM unnest(p_accounts)
            ON CONFLICT (account_id) DO UPDATE SET (kind, name, owner_group, risk_class, frozen, digest) =
                (excluded.kind, excluded.name, excluded.owner_group, excluded.risk_class, excluded.frozen, excluded.digest);
    END IF;
    IF cardinality(p_loans) > 0 THEN
        INSERT INTO market.loan SELECT * FROM unnest(p_loans)
            ON CONFLICT (loan_id) DO UPDATE SET (never_late, status, outstanding, issued, paid, halt_reason, rulebook, last_price) =
                (excluded.never_late, excluded.status, excluded.outstanding, excluded.issued, excluded.paid,
                 excluded.halt_reason, excluded.rulebook, excluded.last_price);
    END IF;
    IF cardinality(p_custody) > 0 THEN
        INSERT INTO market.custody_movement SELECT * FROM unnest(p_custody);
    END IF;
    IF cardinality(p_orders) > 0 THEN
        INSERT INTO market.orders AS o SELECT * FROM unnest(p_orders)
            ON CONFLICT (order_id) DO UPDATE SET
                (expire_at, price, quantity, filled, leaves, shown, cum_cost, turnover, hold, min_quantity, display_quantity,
                 session, tag, status, cancel_reason, version, priority, exec_id, exec_type, is_open, engine_seq, updated_at) =
                (excluded.expire_at, excluded.price, excluded.quantity, excluded.filled, excluded.leaves, excluded.shown,
                 excluded.cum_cost, excluded.turnover, excluded.hold, excluded.min_quantity, excluded.display_quantity,
                 excluded.session, excluded.tag, excluded.status, excluded.cancel_reason, excluded.version, excluded.priority,
                 excluded.exec_id, excluded.exec_type, excluded.is_open, excluded.engine_seq, excluded.updated_at);
    END IF;
    IF cardinality(p_holds) > 0 THEN
        UPDATE market.orders o SET hold = h.hold FROM unnest(p_holds) h WHERE o.order_id = h.order_id;
    END IF;
    IF cardinality(p_executions) > 0 THEN
        INSERT INTO market.execution SELECT * FROM unnest(p_executions);
    END IF;
    IF cardinality(p_entries) > 0 THEN
        INSERT INTO market.journal_entry SELECT * FROM unnest(p_entries);
        INSERT INTO market.posting SELECT * FROM unnest(p_postings);
    END IF;
    IF cardinality(p_trades) > 0 THEN
        INSERT INTO market.trade SELECT * FROM unnest(p_trades);
    END IF;

    IF EXISTS (SELECT FROM unnest(p_postings) WHERE unit = 'cash') THEN
        INSERT INTO market.cash_balance SELECT DISTINCT account_id, asset, 0 FROM unnest(p_postings) WHERE unit = 'cash'
            ON CONFLICT DO NOTHING;
        UPDATE market.cash_balance b SET total = b.total + moved.amount FROM (
            SELECT account_id, asset, sum(amount)::bigint AS amount FROM unnest(p_postings)
            WHERE unit = 'cash' GROUP BY account_id, asset
        ) moved WHERE b.account_id = moved.account_id AND b.currency = moved.asset AND moved.amount <> 0;
        SELECT format('%s %s: %s in memory, %s here', e.account_id, e.currency, e.total, b.total) INTO culprit
            FROM unnest(p_cash) e LEFT JOIN market.cash_balance b USING (account_id, currency)
            WHERE coalesce(b.total, 0) <> e.total LIMIT 1;
        IF FOUND THEN
            PERFORM market.violated('cash_is_what_memory_says', culprit);
        END IF;
    END IF;

    IF cardinality(p_claims) > 0 OR EXISTS (SELECT FROM unnest(p_postings) WHERE unit = 'face') THEN
        INSERT INTO market.position
            SELECT account_id, asset, 0, 0, 0 FROM unnest(p_postings) WHERE unit = 'face'
            UNION SELECT account_id, loan_id, 0, 0, 0 FROM unnest(p_claims)
            ON CONFLICT DO NOTHING;
        UPDATE market.position p SET face = p.face + moved.face,
                cost = coalesce(moved.cost, p.cost), realised = coalesce(moved.realised, p.realised)
            FROM (
                SELECT account_id, loan_id, sum(face)::bigint AS face, max(cost) AS cost, max(realised) AS realised FROM (
                    SELECT account_id, asset AS loan_id, amount AS face, NULL::bigint AS cost, NULL::bigint AS realised
                        FROM unnest(p_postings) WHERE unit = 'face'
                    UNION ALL SELECT account_id, loan_id, 0, cost, realised FROM unnest(p_claims)
                ) parts GROUP BY account_id, loan_id
            ) moved WHERE p.account_id = moved.account_id AND p.loan_id = moved.loan_id
                AND (moved.face, coalesce(moved.cost, p.cost), coalesce(moved.realised, p.realised))
                    IS DISTINCT FROM (0, p.cost, p.realised);
        SELECT format('%s %s: %s in memory, %s here', e.account_id, e.loan_id, e.face, p.face) INTO culprit
            FROM unnest(p_claims) e LEFT JOIN market.position p USING (account_id, loan_id)
            WHERE p.face IS DISTINCT FROM e.face LIMIT 1;
        IF FOUND THEN
            PERFORM market.violated('face_is_what_memory_says', culprit);
        END IF;
    END IF;
END;
$$;

---------------------------------------------------------------------------------------------------------- who may do what
REVOKE ALL ON SCHEMA market FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA market FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA market FROM PUBLIC;
GRANT USAGE ON SCHEMA market TO debt_market_engine, debt_market_gateway;
GRANT SELECT ON ALL TABLES IN SCHEMA market TO debt_market_engine, debt_market_gateway;
REVOKE SELECT ON market.api_key FROM debt_market_engine;  -- it has no use for secrets
GRANT EXECUTE ON FUNCTION market.raise_epoch, market.commit_batch TO debt_market_engine;
GRANT INSERT ON market.quarantine TO debt_market_engine;
GRANT INSERT, UPDATE (expires_at, revoked_at) ON market.api_key TO debt_market_gateway;
