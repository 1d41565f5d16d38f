"""The body that registers a loan."""

from gateway.client.wire import Json, decimal
from market.commands import RegisterLoan


def loan_body(registration: RegisterLoan) -> Json:
    """Return the body of POST /v1/admin/loans that registers this loan."""
    terms, guarantee = registration.terms, registration.terms.guarantee
    body: Json = {
        "loan_id": terms.loan_id,
        "originator": terms.originator,
        "currency": terms.currency,
        "original_principal": decimal(terms.original_principal),
        "issued_face": decimal(registration.issued_face),
        "annual_rate": decimal(terms.annual_rate_ppm, places=6),
        "repayment_method": terms.repayment_method,
        "term_months": terms.term_months,
        "months_per_period": terms.months_per_period,
        "issue_date": terms.issue_date.isoformat(),
        "first_due_date": terms.first_due_date.isoformat(),
        "day_count": terms.day_count,
        "outstanding_principal": decimal(terms.outstanding_at_registration),
        "status": registration.status,
        "grade": terms.grade,
        "claim_type": terms.claim_type,
        "guarantee": {
            "kind": guarantee.kind,
            "name": guarantee.name,
            "trigger_days": guarantee.trigger_days,
            "coverage": guarantee.coverage,
        },
        "borrower_ref": terms.borrower_ref,
        "purpose": terms.purpose,
        "region": terms.region,
        "rulebook": registration.rulebook,
        "documents": [{"name": document.name, "sha256": document.sha256} for document in terms.documents],
        "never_late": terms.never_late,
    }
    if not terms.transferable:
        body["transferable"] = False
    if registration.reason is not None:
        body["reason"] = registration.reason
    return body
