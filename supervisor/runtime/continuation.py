"""`Continuation`: an interrupted turn is gone on with, in the way that its diagnosis says."""

from __future__ import annotations

from typing import Any

from supervisor.core.feedback import addressed
from supervisor.core.interruption import GoOn, Interruption
from supervisor.core.resumption import going_on
from supervisor.errors import ActionError
from supervisor.runtime.aftermath import with_postscript
from supervisor.runtime.feed import and_then, user_message
from supervisor.runtime.steering import Steering
from supervisor.runtime.supervision import Supervision

__all__ = ["Continuation"]

_COMPACT = "/compact Keep the objective and its constraints, what is done, and what is not."


class Continuation:
    """Carries out for one session what `diagnose` concludes: the process that is gone is
    replaced, the transcript forked where it must be, and the prompt sent that fits."""

    def __init__(self, supervision: Supervision, steering: Steering) -> None:
        self.postscript = ""
        """What the agent is to be told besides, when its turn goes on; once."""
        self.compacting: Interruption | None = None
        """What is gone on with once the context is compacted."""
        self._supervision = supervision
        self._steering = steering
        self._compactions = 0

    async def begin(self, interruption: Interruption, transcript: str) -> str:
        """Go on with the turn that was interrupted in `transcript`; returns in one sentence
        how. Raises as `Steering` does, and `ActionError` where it cannot be gone on with."""
        match interruption.go_on:
            case GoOn.STOP | GoOn.PAUSE:
                raise ActionError(f"a machine may not go on: {interruption.reason}")
            case GoOn.HAND_OVER:
                await self._steering.stand_at_the_end()
            case GoOn.COMPACT:
                await self._compact(interruption)
            case _:
                await self._stand(interruption.fork_before, transcript)
                await self._steering.ask(self._prompt(interruption))
        return _DONE[interruption.go_on]

    async def after_compaction(self, *, failed: bool) -> bool:
        """The compaction has ended: go on, unless it was in vain, which returns False."""
        interruption, self.compacting = self.compacting, None
        in_vain = failed or self._supervision.progress.compactions <= self._compactions
        if interruption is None or in_vain:
            return False
        await self._steering.say(self._with_postscript(going_on(interruption)) or "")
        return True

    async def _compact(self, interruption: Interruption) -> None:
        await self._steering.stand_at_the_end()
        self.compacting = interruption
        self._compactions = self._supervision.progress.compactions
        await self._steering.command(user_message(_COMPACT))

    async def _stand(self, fork_before: int | None, transcript: str) -> None:
        if fork_before is None:
            await self._steering.stand_at_the_end()
        else:
            checkpoint = self._supervision.checkpoint_at(transcript, fork_before)
            await self._steering.stand_at(checkpoint)

    def check(self, interruption: Interruption) -> None:
        """Raise `ActionError` where waiting will not help: there is nothing to send."""
        if interruption.asks_again and self._supervision.last_prompt is None:
            raise ActionError("the prompt never reached the transcript, and nobody kept it")

    def _prompt(self, interruption: Interruption) -> dict[str, Any]:
        text = self._with_postscript(going_on(interruption))
        if not interruption.asks_again:
            return user_message(text or "")
        self.check(interruption)
        own = self._supervision.last_prompt
        assert own is not None
        return and_then(own, text)

    def _with_postscript(self, text: str | None) -> str | None:
        postscript, self.postscript = self.postscript, ""
        if not postscript:
            return text
        return addressed(postscript) if text is None else with_postscript(text, postscript)


_DONE = {
    GoOn.RESEND: "sent the prompt again",
    GoOn.CONTINUE: "had the agent continue",
    GoOn.VERIFY: "had the agent verify what may have run, and continue",
    GoOn.HAND_OVER: "handed the finished turn's answer over",
    GoOn.COMPACT: "had the context compacted",
    GoOn.ROLL_BACK: "went back to before the oversized result",
    GoOn.REPAIR: "went back to before the broken pair of call and result",
}
