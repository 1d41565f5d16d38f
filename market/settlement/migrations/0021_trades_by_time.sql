-- Statistics add up the trades of the last days of all loans. Trades are written in order of time, so a block range index
-- of a few pages finds them, and costs a commit next to nothing.
CREATE INDEX trade_by_time ON market.trade USING brin (at) WITH (autosummarize = on);
