//! Notifiers: one follower for each channel, one sender for each kind of receiver.
