"""Whether a client uses the local server: for how long it has answered no request, with no connection to watch it."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Idle:
    """An application that knows since when it has nothing to do.

    A client that runs a flow has a websocket open for its events, and so has a browser that shows the UI; a worker
    asks every few seconds. So no client whom the end of the server could hurt is overlooked.
    """

    def __init__(self, application: Application, clock: Callable[[], float] = time.monotonic) -> None:
        self._application = application
        self._clock = clock
        self._open = 0
        self.used()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request or a websocket on, and count it; the application's own life is no use of it."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        self._open += 1
        try:
            await self._application(scope, receive, send)
        finally:
            self._open -= 1
            self.used()

    def used(self) -> None:
        """Count from now on."""
        self._last = self._clock()

    def seconds(self) -> float:
        """Return for how many seconds nothing was asked; 0 while something is."""
        return 0.0 if self._open else self._clock() - self._last
