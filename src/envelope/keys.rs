//! Keys: the key-encryption key (KEK) from outside, and the data keys (DEK) wrapped by it.
