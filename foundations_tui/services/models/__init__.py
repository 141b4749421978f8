"""Models: versions that jobs have made, registered, promoted, served, and used for predictions."""
