-- Candles are added up from the trades of a loan in a span of time.
CREATE INDEX trade_by_loan_time ON market.trade (loan_id, at);
