"""Methods on objects in memory: what `MODPO(...).fit(model, tokenizer, rows)` does, through the same engine as a sweep."""
