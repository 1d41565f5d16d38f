-- People who sign in with a password, and where they are signed in. The gateway's own, like API keys: no command of the
-- market reads or writes them.

CREATE TABLE market.web_user (
    user_id       text PRIMARY KEY,
    login         text NOT NULL CONSTRAINT web_user_login_is_one UNIQUE
        CONSTRAINT web_user_login_is_plain CHECK (login ~ '^[a-z0-9._@+-]{3,64}$'),
    password_hash text NOT NULL CONSTRAINT web_user_password_is_hashed CHECK (password_hash LIKE '$argon2id$%'),
    account_id    text NOT NULL CONSTRAINT web_user_account_exists REFERENCES market.account,
    scopes        text[] NOT NULL
        CONSTRAINT web_user_scopes_known CHECK (scopes <@ ARRAY['read', 'trade', 'transfer', 'admin']),
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    text NOT NULL,
    reason        text
);
COMMENT ON COLUMN market.web_user.user_id IS 'what the log records as the actor: it says nothing of the person';

CREATE TABLE market.web_session (
    token_hash bytea PRIMARY KEY CONSTRAINT web_session_token_is_sha256 CHECK (octet_length(token_hash) = 32),
    user_id    text NOT NULL CONSTRAINT web_session_user_exists REFERENCES market.web_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL CONSTRAINT web_session_ends CHECK (expires_at > created_at)
);
CREATE INDEX web_session_of_user ON market.web_session (user_id);
COMMENT ON TABLE market.web_session IS 'Sessions that may still be used; one that ends is deleted';

CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON market.web_user
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse('rows_are_never_deleted');

REVOKE ALL ON market.web_user, market.web_session FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE (password_hash) ON market.web_user TO debt_market_gateway;
GRANT SELECT, INSERT, DELETE ON market.web_session TO debt_market_gateway;

ALTER TABLE market.api_key ADD COLUMN label text;
