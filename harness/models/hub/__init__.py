"""Fetch GGUF files from the Hugging Face hub: resumed, verified, then put into its cache.

huggingface_hub does the talking (endpoint, token, offline mode, retries, progress) and owns the
cache's layout. What it leaves out is added here: it keeps no partial data between runs and checks
sizes, not digests. So bytes go to a partial file of ours, are compared with the hub's own record
of the file, and only then get the blob's name; a blob in the cache is complete and verified.
"""

from __future__ import annotations

from harness.models.hub.fetch import fetch, fetch_all
from harness.models.hub.listing import Entry, Listing, Wanted, listing_of

__all__ = ["Entry", "Listing", "Wanted", "fetch", "fetch_all", "listing_of"]
