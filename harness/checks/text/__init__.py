"""What checks read from a text: words, sentences, languages, patterns, health."""
