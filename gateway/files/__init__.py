"""Loan books and servicing events as files."""
