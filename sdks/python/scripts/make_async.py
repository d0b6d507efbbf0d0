"""Makes `_async.py` of `_sync.py`: they differ in the words that await. A test holds the one to the other."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src" / "agent_vault_sdk"


def made() -> str:
    text = (FOLDER / "_sync.py").read_text()
    text = text.replace("The client that waits.", "The client for an event loop; made of `_sync.py` by scripts/make_async.py.")
    text = text.replace("_sync_http", "_async_http").replace("httpx.Client", "httpx.AsyncClient")
    text = re.sub(r"\b(Connection|VaultClient|AgentVault|\w+Resource)\b(?=[():,.\s`|])", r"Async\1", text)
    text = text.replace(", Iterator,", ", AsyncIterator,").replace("-> Iterator", "-> AsyncIterator")
    text = re.sub(r"(?<!@property)\n    def (?!__init__|_named|vault\b)", "\n    async def ", text)
    text = text.replace("__enter__", "__aenter__").replace("__exit__", "__aexit__").replace("``with``", "``async with``")
    text = re.sub(r"(self\._http\.(?:run|send|sleep|close)\(|self\.(?:close|list|get)\()", r"await \1", text)
    text = re.sub(r"for (row|line) in self\._http\.rows", r"async for \1 in self._http.rows", text)
    return text


if __name__ == "__main__":
    (FOLDER / "_async.py").write_text(made())
