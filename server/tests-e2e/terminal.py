"""A terminal with the shell in it."""

import os
import pty
import select
import termios
import time

from harness import binary, eventually


class Terminal:
    """The program on a terminal, as a person sees it."""

    def __init__(self, arguments, home):
        self.screen = ""
        child, self.fd = pty.fork()
        if child == 0:
            os.environ.update(HOME=str(home), XDG_STATE_HOME=str(home / "state"), TERM="xterm", COLUMNS="200")
            os.execv(binary(), ["elanus", "sql", *arguments])
        self.child = child

    def until(self, text: str, limit_s: float = 180) -> str:
        """Reads until `text` appears in what has not been returned yet."""
        end = time.monotonic() + limit_s
        while text not in self.screen:
            assert time.monotonic() < end, f"no {text!r} in\n{self.screen}"
            if select.select([self.fd], [], [], 1)[0]:
                self.screen += os.read(self.fd, 65536).decode(errors="replace")
        seen, self.screen = self.screen.split(text, 1)
        return seen + text

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def type_unseen(self, text: str) -> None:
        """Types once the terminal shows nothing of it."""
        eventually(lambda: not termios.tcgetattr(self.fd)[3] & termios.ECHO, "the terminal does not echo")
        self.type(text)

    def end(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
