"""From keys to what is meant: the keymap, keys in their order, what is typed behind a colon, the form of a job."""
