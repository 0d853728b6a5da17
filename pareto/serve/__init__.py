"""An OpenAI-compatible server whose every request has weights of its own, and a page to steer by hand (extra `serve`)."""
