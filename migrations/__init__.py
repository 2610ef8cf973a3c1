"""Alembic migrations, a package so that an installed evoctl finds them."""
