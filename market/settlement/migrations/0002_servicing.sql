-- Servicing: the events that servicers reported, and what borrowers owe once an event has touched a loan's schedule.

CREATE TABLE market.servicing_event (
    event_id    text PRIMARY KEY,
    loan_id     text NOT NULL CONSTRAINT servicing_loan_exists REFERENCES market.loan,
    type        text NOT NULL CONSTRAINT servicing_type_known CHECK (type IN
        ('payment', 'prepayment', 'missed', 'reschedule', 'default', 'buyback', 'recovery', 'write_off')),
    value_date  date NOT NULL,
    currency    text NOT NULL,
    interest    bigint NOT NULL,
    principal   bigint NOT NULL,
    costs       bigint NOT NULL,
    capitalised bigint NOT NULL,
    distributed bigint NOT NULL,  -- to the accounts here; the rest is that of the unissued face
    outstanding bigint NOT NULL,  -- of the loan after it
    status      text NOT NULL,
    digest      bytea NOT NULL,
    seq         bigint NOT NULL,
    at          bigint NOT NULL,
    nr          bigint NOT NULL CONSTRAINT servicing_in_order UNIQUE,  -- seq << 20 | place in the batch
    CONSTRAINT servicing_amounts_not_negative
        CHECK (least(interest, principal, costs, capitalised, distributed, outstanding) >= 0),
    CONSTRAINT servicing_pays_out_what_came_in CHECK (distributed <= interest + principal)
);
CREATE INDEX servicing_by_loan ON market.servicing_event (loan_id, nr);

CREATE TABLE market.loan_schedule (
    loan_id  text PRIMARY KEY CONSTRAINT schedule_loan_exists REFERENCES market.loan,
    schedule json NOT NULL  -- market.claims.schedule.Schedule
) WITH (fillfactor = 80);
COMMENT ON TABLE market.loan_schedule IS 'Only of serviced loans; any other schedule follows from the terms of its loan';

CREATE UNIQUE INDEX servicing_settles_once ON market.journal_entry (reference) WHERE kind = 'servicing';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.servicing_event
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('history_is_append_only');
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.loan_schedule
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('rows_are_never_deleted');

-- No cash distributed without the journal entry that moves it.
CREATE FUNCTION market.check_servicing() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT n.event_id INTO culprit FROM new_rows n WHERE n.distributed > 0 AND 1 <> (
        SELECT count(*) FROM market.journal_entry e WHERE e.kind = 'servicing' AND e.reference = n.event_id) LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('servicing_has_its_entry', culprit);
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER has_its_entry AFTER INSERT ON market.servicing_event
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.check_servicing();

-- The batch of 0001 with servicing; the fence in there is still its first act.
CREATE FUNCTION market.commit_batch(
    p_epoch bigint, p_previous_seq bigint, p_next_seq bigint, p_log_head bytea,
    p_log market.command_log[],
    p_market market.market_state[], p_accounts market.account[], p_loans market.loan[],
    p_custody market.custody_movement[],
    p_orders market.orders[], p_holds market.order_hold[],
    p_trades market.trade[], p_entries market.journal_entry[], p_postings market.posting[],
    p_executions market.execution[],
    p_cash market.cash_balance[], p_claims market.position[],
    p_servicing market.servicing_event[], p_schedules market.loan_schedule[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_mergejoin = off
SET enable_hashjoin = off SET enable_material = off SET jit = off
AS $$
BEGIN
    PERFORM market.commit_batch(p_epoch, p_previous_seq, p_next_seq, p_log_head, p_log, p_market, p_accounts, p_loans,
        p_custody, p_orders, p_holds, p_trades, p_entries, p_postings, p_executions, p_cash, p_claims);
    IF cardinality(p_servicing) > 0 THEN
        INSERT INTO market.servicing_event SELECT * FROM unnest(p_servicing);
        INSERT INTO market.loan_schedule SELECT * FROM unnest(p_schedules)
            ON CONFLICT (loan_id) DO UPDATE SET schedule = excluded.schedule;
    END IF;
END;
$$;

REVOKE ALL ON market.servicing_event, market.loan_schedule FROM PUBLIC;
REVOKE ALL ON FUNCTION market.check_servicing FROM PUBLIC;
REVOKE ALL ON FUNCTION market.commit_batch(
    bigint, bigint, bigint, bytea, market.command_log[], market.market_state[], market.account[], market.loan[],
    market.custody_movement[], market.orders[], market.order_hold[], market.trade[], market.journal_entry[],
    market.posting[], market.execution[], market.cash_balance[], market.position[],
    market.servicing_event[], market.loan_schedule[]) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION market.commit_batch(
    bigint, bigint, bigint, bytea, market.command_log[], market.market_state[], market.account[], market.loan[],
    market.custody_movement[], market.orders[], market.order_hold[], market.trade[], market.journal_entry[],
    market.posting[], market.execution[], market.cash_balance[], market.position[]) FROM debt_market_engine;
GRANT EXECUTE ON FUNCTION market.commit_batch(
    bigint, bigint, bigint, bytea, market.command_log[], market.market_state[], market.account[], market.loan[],
    market.custody_movement[], market.orders[], market.order_hold[], market.trade[], market.journal_entry[],
    market.posting[], market.execution[], market.cash_balance[], market.position[],
    market.servicing_event[], market.loan_schedule[]) TO debt_market_engine;
GRANT SELECT ON market.servicing_event, market.loan_schedule TO debt_market_engine, debt_market_gateway;
