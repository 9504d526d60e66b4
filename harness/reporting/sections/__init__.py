"""The report's sections as Markdown, each file one after the other as the report holds them."""
