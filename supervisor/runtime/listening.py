"""`Listening`: what people say to a session while it runs, on its way to the agent."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from supervisor.core.feedback import addressed
from supervisor.core.word import Heard, Word
from supervisor.errors import StoreError, TranscriptError
from supervisor.runtime.supervision import Supervision
from supervisor.store.interface import Store

__all__ = ["LOOK_SECONDS", "Listening"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the store is asked. A person does not notice, and a store of many sessions
neither."""


class Listening:
    """Asks the store for words to one session, and has each shown to its agent once."""

    def __init__(self, supervision: Supervision, store: Store | None) -> None:
        """`store` is where the words are; None: nobody can say anything."""
        self._supervision = supervision
        self._store = store
        self._waiting: dict[str, Word] = {}
        self._heard: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._recording: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to ask."""
        if self._store is not None and self._task is None:
            self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Ask no more, once it is written down what was shown."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._recording, return_exceptions=True)

    def take(self) -> str | None:
        """What waits, for the agent to read now; it counts as heard."""
        words, self._waiting = list(self._waiting.values()), {}
        if not words:
            return None
        self._heard.update(word.id for word in words)
        task = asyncio.create_task(self._record(words))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)
        return addressed("\n".join(word.told for word in words))

    async def _record(self, words: list[Word]) -> None:
        now = datetime.now(UTC)
        heard = [Heard(session_id=w.session_id, word_id=w.id, at=now) for w in words]
        await self._supervision.words_heard(heard)

    async def look(self) -> None:
        """Ask the store once."""
        if self._store is None:
            return
        try:
            words = await self._store.words(self._supervision.session_id)
        except (StoreError, TranscriptError) as error:
            log.debug("nobody can be heard: %s", error)
            return
        for word in words:
            if word.id not in self._heard:
                self._waiting[word.id] = word

    async def _listen(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()
