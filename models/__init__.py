"""Memory: SQLAlchemy tables ("models" are tables here, never LLMs) and what each stage loads and saves."""
