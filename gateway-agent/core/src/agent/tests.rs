//! The owner, driven by hand.
