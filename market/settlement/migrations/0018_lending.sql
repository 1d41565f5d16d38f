-- The balance coefficient as a rule of the schema: of what an originator lent in a currency no more is transferred.
-- Kept by the database from the loans themselves; that each loan keeps within its own principal is a rule of 0001.

CREATE TABLE market.lending (
    originator  text NOT NULL,
    currency    text NOT NULL,
    lent        bigint NOT NULL,  -- original principal of all its loans
    transferred bigint NOT NULL CONSTRAINT transferred_within_lent CHECK (transferred BETWEEN 0 AND lent),  -- issued face
    PRIMARY KEY (originator, currency)
) WITH (fillfactor = 80);

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.lending
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('rows_are_never_deleted');

CREATE FUNCTION market.lend() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO market.lending AS l
        SELECT originator, currency, sum(original_principal), sum(issued) FROM new_rows GROUP BY originator, currency
        ON CONFLICT (originator, currency) DO UPDATE
            SET lent = l.lent + excluded.lent, transferred = l.transferred + excluded.transferred;
    RETURN NULL;
END;
$$;
CREATE TRIGGER adds_to_lending AFTER INSERT ON market.loan
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.lend();

-- Principal never changes (terms_are_fixed); a loan is written after each new last price, so mostly nothing moves here.
CREATE FUNCTION market.transfer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE market.lending l SET transferred = l.transferred + moved.issued FROM (
        SELECT originator, currency, sum(issued)::bigint AS issued FROM (
            SELECT originator, currency, issued FROM new_rows UNION ALL SELECT originator, currency, -issued FROM old_rows
        ) sides GROUP BY originator, currency HAVING sum(issued) <> 0
    ) moved WHERE l.originator = moved.originator AND l.currency = moved.currency;
    RETURN NULL;
END;
$$;
CREATE TRIGGER moves_lending AFTER UPDATE ON market.loan
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.transfer();

INSERT INTO market.lending
    SELECT originator, currency, sum(original_principal), sum(issued) FROM market.loan GROUP BY originator, currency;

REVOKE ALL ON market.lending FROM PUBLIC;
REVOKE ALL ON FUNCTION market.lend, market.transfer FROM PUBLIC;
GRANT SELECT ON market.lending TO debt_market_engine, debt_market_gateway;
