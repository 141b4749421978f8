"""The terminal app, under Textual's pilot and in real terminals."""
