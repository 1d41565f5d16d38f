-- What a person knows a session by when looking at the list of them. Deleted with the session.

ALTER TABLE market.web_session
    ADD COLUMN address text,
    ADD COLUMN user_agent text CONSTRAINT web_session_user_agent_is_short CHECK (length(user_agent) <= 200);
