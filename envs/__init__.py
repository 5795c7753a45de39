"""Environments: one adapter file per library, and the table of ids, budgets and scores."""
