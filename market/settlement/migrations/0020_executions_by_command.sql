-- A standby keeps a copy of the open orders by asking which executions came since; they only ever grow at the end.
CREATE INDEX execution_by_command ON market.execution (engine_seq);
