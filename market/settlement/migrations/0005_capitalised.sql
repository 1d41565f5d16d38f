-- Interest that a reschedule capitalises may take what is outstanding above what was lent: a pool factor above 1.
ALTER TABLE market.loan
    DROP CONSTRAINT loan_outstanding_within_principal,
    ADD CONSTRAINT loan_outstanding_within_twice_principal
        CHECK (outstanding BETWEEN 0 AND 2 * original_principal);
