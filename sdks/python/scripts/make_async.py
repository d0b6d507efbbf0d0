"""Makes `_async.py` of `_sync.py`: they differ in the words that await. A test holds the one to the other."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src" / "agent_vault_sdk"


def made() -> str:
    text = (FOLDER / "_sync.py").read_text()
    text = text.replace("The client that waits.", "The client for an event loop; made of `_sync.py` by scripts/make_async.py.")
    text = text.replace("_sync_http", "_async_http").replace("httpx.Client", "httpx.AsyncClient")
    text = re.sub(r"\b(Connection|VaultClient|AgentVault|\w+Resource)\b(?=[():,.\s`|])", r"Async\1", text)
    text = text.replace("from typing import Iterator", "from typing import AsyncIterator").replace("-> Iterator", "-> AsyncIterator")
    text = re.sub(r"(?<=\n)    def (?!__init__|_named|sessions|services|logs|agents|vault\b)", "    async def ", text)
    text = text.replace("__enter__", "__aenter__").replace("__exit__", "__aexit__").replace("``with``", "``async with``")
    text = re.sub(r"(self\._http\.(?:run|send|close)\(|self\.close\(|self\.list\()", r"await \1", text)
    return text


if __name__ == "__main__":
    (FOLDER / "_async.py").write_text(made())
