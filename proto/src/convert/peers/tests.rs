//! Whatever a peer or a disk holds is a valid frame or an error.
