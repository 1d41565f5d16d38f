-- Chain of title: every move of face is an assignment, numbered and hash-linked per loan, from the first issue on.
--
-- Written by the database itself out of the postings, so that no face moves without its link, whoever moves it. A link's
-- hash is over texts that its readers are shown (docs/register.md), parties by pseudonyms: who reads a chain can verify it
-- by himself and learns no account. A pseudonym follows from the secret, the loan and the account; a party that is told
-- its opening can prove to others who it is.

CREATE TABLE market.title_secret (
    singleton boolean PRIMARY KEY DEFAULT true CONSTRAINT title_secret_is_one_row CHECK (singleton),
    secret    bytea NOT NULL CONSTRAINT title_secret_is_long CHECK (octet_length(secret) >= 32)
);
INSERT INTO market.title_secret (secret)
    SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

CREATE TABLE market.assignment (
    loan_id  text NOT NULL,
    n        bigint NOT NULL,
    entry_id bigint NOT NULL CONSTRAINT entry_assigns_once UNIQUE,
    kind     text NOT NULL CONSTRAINT assignment_kind_known CHECK (kind IN ('issuance', 'trade')),
    trade_id bigint CONSTRAINT assignment_names_its_trade CHECK ((trade_id IS NOT NULL) = (kind = 'trade')),
    assignor text NOT NULL,
    assignee text NOT NULL,
    face     bigint NOT NULL CONSTRAINT assignment_face_positive CHECK (face > 0),
    at       bigint NOT NULL,
    hash     bytea NOT NULL,
    PRIMARY KEY (loan_id, n),
    CONSTRAINT assignment_between_two CHECK (assignor <> assignee)
);
COMMENT ON COLUMN market.assignment.assignor IS 'ISSUE: the face was issued, the chain of it begins here';

-- What proves, together with the account's id, who a party of a loan's chain is; and the party: an account's pseudonym.
CREATE FUNCTION market.opening_of(p_secret bytea, p_loan_id text, p_account_id text) RETURNS text LANGUAGE sql STABLE
RETURN encode(sha256(p_secret || sha256(p_secret || convert_to(p_loan_id || E'\n' || p_account_id, 'UTF8'))), 'hex');

CREATE FUNCTION market.party_of(p_secret bytea, p_loan_id text, p_account_id text) RETURNS text LANGUAGE sql STABLE
RETURN encode(sha256(convert_to(
    market.opening_of(p_secret, p_loan_id, p_account_id) || E'\n' || p_account_id, 'UTF8')), 'hex');

-- The same for readers who must not know the secret.
CREATE FUNCTION market.title_opening(p_loan_id text, p_account_id text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
RETURN (SELECT market.opening_of(secret, p_loan_id, p_account_id) FROM market.title_secret);

CREATE FUNCTION market.title_party(p_loan_id text, p_account_id text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
RETURN (SELECT market.party_of(secret, p_loan_id, p_account_id) FROM market.title_secret);

-- Gives a new link its number and hash, after the last one of its loan: rows of one statement see those before them.
CREATE FUNCTION market.link_title() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key       bytea := (SELECT secret FROM market.title_secret);
    last_hash bytea;
BEGIN
    IF NOT EXISTS (SELECT FROM market.posting p WHERE p.account_id = NEW.assignee AND p.entry_id = NEW.entry_id
                   AND p.unit = 'face' AND p.asset = NEW.loan_id AND p.amount = NEW.face) THEN
        PERFORM market.violated('assignment_has_its_posting', format('entry %s', NEW.entry_id));
    END IF;
    SELECT a.n, a.hash INTO NEW.n, last_hash FROM market.assignment a
        WHERE a.loan_id = NEW.loan_id ORDER BY a.n DESC LIMIT 1;
    NEW.n := coalesce(NEW.n, 0) + 1;
    NEW.hash := sha256(convert_to(concat_ws(E'\n',
        coalesce(encode(last_hash, 'hex'), repeat('0', 64)),
        NEW.loan_id, NEW.n, NEW.kind, coalesce('T-' || NEW.trade_id, ''),
        CASE NEW.assignor WHEN 'ISSUE' THEN '' ELSE market.party_of(key, NEW.loan_id, NEW.assignor) END,
        market.party_of(key, NEW.loan_id, NEW.assignee),
        NEW.face / 100 || '.' || lpad((NEW.face % 100)::text, 2, '0'),
        to_char(timestamp 'epoch' + NEW.at / 1000000000 * interval '1 second'
                + NEW.at % 1000000000 / 1000 * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    ), 'UTF8'));
    RETURN NEW;
END;
$$;
CREATE TRIGGER follows_the_last BEFORE INSERT ON market.assignment FOR EACH ROW EXECUTE FUNCTION market.link_title();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.assignment
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('history_is_append_only');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.title_secret
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('history_is_append_only');

CREATE FUNCTION market.assign_titles() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    culprit text;
BEGIN
    SELECT n.entry_id::text INTO culprit FROM new_rows n
        WHERE n.unit = 'face' GROUP BY n.entry_id HAVING count(*) <> 2 LIMIT 1;
    IF FOUND THEN
        PERFORM market.violated('face_moves_between_two', culprit);
    END IF;
    INSERT INTO market.assignment (loan_id, entry_id, kind, trade_id, assignor, assignee, face, at)
        SELECT move.loan_id, e.entry_id, e.kind, CASE e.kind WHEN 'trade' THEN e.reference::bigint END,
               move.assignor, move.assignee, move.face, e.at
        FROM (SELECT entry_id, asset AS loan_id, max(amount) AS face,  -- not a join of both legs: without an index it
                     max(account_id) FILTER (WHERE amount < 0) AS assignor,  -- would grow with the square of a batch
                     max(account_id) FILTER (WHERE amount > 0) AS assignee
              FROM new_rows WHERE unit = 'face' GROUP BY entry_id, asset) move
            JOIN market.journal_entry e USING (entry_id) ORDER BY e.entry_id;
    RETURN NULL;
END;
$$;
CREATE TRIGGER titles_follow AFTER INSERT ON market.posting
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market.assign_titles();

-- What moved before there were chains.
INSERT INTO market.assignment (loan_id, entry_id, kind, trade_id, assignor, assignee, face, at)
    SELECT got.asset, got.entry_id, e.kind, CASE e.kind WHEN 'trade' THEN e.reference::bigint END,
           gave.account_id, got.account_id, got.amount, e.at
    FROM market.posting got
        JOIN market.posting gave ON gave.entry_id = got.entry_id AND gave.unit = 'face' AND gave.amount < 0
        JOIN market.journal_entry e ON e.entry_id = got.entry_id
    WHERE got.unit = 'face' AND got.amount > 0 ORDER BY got.entry_id;

REVOKE ALL ON market.assignment, market.title_secret FROM PUBLIC;
REVOKE ALL ON FUNCTION market.opening_of, market.party_of, market.title_opening, market.title_party, market.link_title,
    market.assign_titles FROM PUBLIC;
GRANT SELECT ON market.assignment TO debt_market_engine, debt_market_gateway;
GRANT EXECUTE ON FUNCTION market.title_opening, market.title_party TO debt_market_gateway;
