"""The measured ledger: where every byte of one real step went, by category, and what no tensor accounts for."""
