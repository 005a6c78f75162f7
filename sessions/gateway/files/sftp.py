"""The sftp subsystem, or an sftp server run as a command, decoded as it passes: a request is judged before the asset sees it, an answer before the person."""

from __future__ import annotations

from collections.abc import Callable

from breakglass.domain.refusals import Refusal, RefusalCode, refusal
from sessions.gateway.files.answers import Answers
from sessions.gateway.files.lane import Lane
from sessions.gateway.files.requests import Requests
from sessions.gateway.files.sftp_state import SftpState
from sessions.gateway.files.sftp_wire import FROM_ASSET, FROM_PERSON, Malformed
from sessions.gateway.relay import SplicedChannel


class Sftp:
    """One channel's decoder (relay.Decoder). `stop` ends the channel with a refusal.

    Of a command that says it runs an sftp server (a recorded channel) the raw output is in the recording too.
    """

    def __init__(self, channel: SplicedChannel, stop: Callable[[Refusal], None]) -> None:
        state = SftpState(channel)
        requests = Requests(state)
        self._up = Lane(channel.person, channel.asset, requests, FROM_PERSON)
        self._down = Lane(channel.asset, channel.person, Answers(state, requests), FROM_ASSET)
        state.insert_up, state.insert_down = self._up.insert, self._down.insert
        self._channel = channel
        self._state = state
        self._stop = stop
        self._stopped = False

    def from_person(self, plain: bytearray, count: int, size: int) -> None:
        channel = self._channel
        if channel.recorded:
            channel.traffic_in.add(memoryview(plain)[10 : 10 + count])
        else:
            channel.traffic_in.count += count
        self._take(self._up, plain, count, size)

    def from_asset(self, plain: bytearray, count: int, size: int) -> None:
        channel = self._channel
        if channel.recorded:
            # A command: nobody can tell that what runs is an sftp server, so its output is recorded as any command's.
            channel.record(bytes(memoryview(plain)[10 : 10 + count]), stderr=False)
        else:
            channel.traffic_out.count += count
        self._take(self._down, plain, count, size)

    def wind_up(self) -> None:
        self._state.ledger.wind_up()

    def _take(self, lane: Lane, plain: bytearray, count: int, size: int) -> None:
        if self._stopped:
            return
        try:
            lane.take(plain, count, size)
            self._state.outbox.flush()
        except Malformed as problem:
            self._stopped = True
            self._stop(refusal(RefusalCode.FILE_PROTOCOL, protocol="sftp", problem=problem))
