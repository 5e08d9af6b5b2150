"""Parts that plugins share (batch processor, templates, Redis, test kit). A plugin imports the plugin API only."""
