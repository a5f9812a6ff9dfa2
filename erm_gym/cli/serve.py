"""`erm-gym users serve`: lets others ask a user over HTTP."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Annotated

import tyro
from rich.console import Console

from erm_gym.cli.command import Command, Outcome
from erm_gym.cli.console import load_libraries, print_place


@dataclass(frozen=True, kw_only=True)
class ServeUser(Command):
    """Serve a user over HTTP, so that runs elsewhere can use it by its address."""

    user: Annotated[str, tyro.conf.Positional]
    """Who gives the feedback: anything that --user of other commands takes."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    host: str = "127.0.0.1"
    """Address to listen at; the default is not seen by other machines, 0.0.0.0 by all."""
    api_key_env: str = ""
    """Environment variable with a key that requests must bring as a bearer token."""
    llm: str = "smollm2-135m"
    """Language model that built-in users read replies with."""
    device: str = "cpu"
    """Device of the language model, such as cpu or cuda."""

    def run(self, console: Console) -> Outcome:
        """Serves until Ctrl-C or a SIGTERM."""
        load_libraries(console)
        from erm_gym.feedback import make_user
        from erm_gym.feedback.users.connection import read_key
        from erm_gym.feedback.users.server import UserServer
        from erm_gym.llm import load_llm

        key = read_key("users serve", self.api_key_env)
        with console.status(f"Loading {self.llm} ..."):
            user = make_user(self.user, load_llm(self.llm, device=self.device))
        with UserServer(user, host=self.host, port=self.port, key=key) as server:
            print_place(console, "serving", f"{self.user} at {server.address}")
            console.print("Ctrl-C ends it.", style="dim")
            _serve(server)
        console.print("stopped", style="dim")
        return Outcome({"user": self.user, "address": server.address})


def _serve(server: ThreadingHTTPServer) -> None:
    """Serves until interrupted; a SIGTERM, as containers send it, is like Ctrl-C."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
