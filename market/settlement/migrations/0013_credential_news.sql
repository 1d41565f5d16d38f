-- Gateways keep all credentials in memory; where there are several, each hears of what another one changed.

CREATE FUNCTION market.tell_credential() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('debt_market_credentials', TG_TABLE_NAME || ' ' || CASE TG_TABLE_NAME
        WHEN 'api_key' THEN to_jsonb(coalesce(NEW, OLD)) ->> 'key'
        WHEN 'web_user' THEN to_jsonb(coalesce(NEW, OLD)) ->> 'user_id'
        ELSE substr(to_jsonb(coalesce(NEW, OLD)) ->> 'token_hash', 3) -- '\x...'
    END);
    RETURN NULL;
END;
$$;

CREATE TRIGGER told AFTER INSERT OR UPDATE ON market.api_key
    FOR EACH ROW EXECUTE FUNCTION market.tell_credential();
CREATE TRIGGER told AFTER INSERT OR UPDATE ON market.web_user
    FOR EACH ROW EXECUTE FUNCTION market.tell_credential();
CREATE TRIGGER told AFTER INSERT OR DELETE ON market.web_session
    FOR EACH ROW EXECUTE FUNCTION market.tell_credential();
