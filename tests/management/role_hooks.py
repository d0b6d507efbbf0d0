"""What schemathesis loads: the server that it calls, and the token of the role that it calls as."""

from __future__ import annotations

import atexit
import os

import schemathesis

from stage import Refused, Server

ROLE = os.environ["MANAGEMENT_ROLE"]
PORT = int(os.environ["MANAGEMENT_PORT"])


class Stage:
    """The server and the live token of the role. A call that ended the token is followed by a new one."""

    def __init__(self) -> None:
        self.server = Server(PORT)
        self.token: str | None = None
        self.ended = True
        self.server.start()
        self.server.furnish()
        self.renew()

    def renew(self) -> None:
        try:
            self.token = self.server.token_of(ROLE)
        except Refused:
            # An owner took away whoever makes the others: begin again.
            self.server.stop()
            self.server = Server(PORT).start()
            self.server.furnish()
            self.token = self.server.token_of(ROLE)
        self.ended = False

    def live(self) -> str:
        if self.ended:
            self.renew()
        assert self.token is not None
        return self.token


STAGE = Stage()
atexit.register(lambda: STAGE.server.stop())

if ROLE != "anonymous":

    @schemathesis.auth(cache_by_key=None, refresh_interval=None)
    class Token:
        """Presents the token."""

        def get(self, case: schemathesis.Case, context: object) -> str:
            return STAGE.live()

        def set(self, case: schemathesis.Case, token: str, context: object) -> None:
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def after_call(context: object, case: schemathesis.Case, response: schemathesis.Response) -> None:
    # Logging out, a rotation, a new password, the end of an account: the next call needs another token.
    if response.status_code == 401 or (case.method != "GET" and response.status_code < 300):
        check = STAGE.server.call("GET", "/v1/vaults", STAGE.token) if ROLE != "anonymous" else None
        STAGE.ended = check is not None and check.status_code in (401, 403, 503) and ROLE != "vault-token"
        if ROLE == "vault-token":
            STAGE.ended = STAGE.server.call("GET", "/discover?vault=default", STAGE.token).status_code != 200
