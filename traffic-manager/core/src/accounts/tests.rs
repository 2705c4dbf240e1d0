//! Candidates: what becomes a record, when, and how often.
