-- Since when a loan is halted, and by whom, is in the log: its few halts are found without reading all of it.
CREATE INDEX command_log_of_halts ON market.command_log ((body->>'loan_id'), seq) WHERE kind = 'HaltLoan';
