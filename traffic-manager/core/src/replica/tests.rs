//! Prepare, commit, apply; and two or three replicas over a network made by hand.
