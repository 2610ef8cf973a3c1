"""The web page: rq-dashboard behind a guard."""
