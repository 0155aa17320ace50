"""Training of recognisers on a user's own videos."""
