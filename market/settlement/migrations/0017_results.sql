-- A write-off realises the loss: what the claim cost leaves with it, and a later recovery is all gain. Positions of loans
-- that were written off before this rule are brought to where it would have left them: realised - cost stays the same.
UPDATE market.position p SET realised = p.realised - p.cost, cost = 0
    WHERE p.cost > 0
      AND p.loan_id IN (SELECT loan_id FROM market.servicing_event WHERE type = 'write_off');

CREATE INDEX assignment_of_issue ON market.assignment (loan_id) WHERE kind = 'issuance';
