"""The debt-market command."""


def main() -> None:
    raise SystemExit("not here yet")
