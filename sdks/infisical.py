"""A store on loopback that answers as Infisical does, as far as the tests of both packages need it.

    python3 sdks/infisical.py FILE   serves until it is ended, and writes its address into FILE
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

#: One login, one project, one environment, one folder.
CLIENT_SECRET = "secret-1"
TOKEN = "token-of-the-tests"
PROJECT = {"workspaceId": "project-1", "environment": "dev", "secretPath": "/"}
SECRETS = {"FROM_STORE": "stored-there-0123456789"}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        if self.path == "/api/v1/auth/universal-auth/login" and body.get("clientSecret") == CLIENT_SECRET:
            life = {"expiresIn": 7200, "accessTokenMaxTTL": 86400, "tokenType": "Bearer"}
            self.answer(200, {"accessToken": TOKEN, **life})
        else:
            self.answer(401, {"message": "Invalid credentials"})

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"message": "Token missing"})
        elif url.path == f"/api/v1/workspace/{PROJECT['workspaceId']}":
            self.answer(200, {"workspace": {"id": PROJECT["workspaceId"], "slug": "project"}})
        elif url.path == "/api/v1/dynamic-secrets":
            self.answer(200, {"dynamicSecrets": []})
        elif url.path == "/api/v3/secrets/raw" and all(asked.get(name) == value for name, value in PROJECT.items()):
            secrets = [
                {"secretKey": name, "secretValue": value, "secretValueHidden": False, "version": 1}
                for name, value in SECRETS.items()
            ]
            self.answer(200, {"secrets": secrets, "imports": []})
        else:
            self.answer(404, {"message": "not found"})

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: what is asked is the tests' own."""


def main(file: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # At once whole: who waits for it reads it when it is there.
    with open(f"{file}.new", "w") as new:
        new.write(f"http://127.0.0.1:{server.server_address[1]}")
    os.replace(f"{file}.new", file)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
