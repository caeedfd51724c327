// Carriers that are made up, and the time in which they act.
import { decodeClientMessage, encodeServerMessage } from '../../web/sdk/wire.js';

/** @typedef {import('../../web/sdk/carrier.js').Session} Session */

export const join = /** @type {const} */ ({ type: 'join', version: 1, room: 'lobby', name: 'Ana', token: null, ticket: null, chatAfter: null, autoSubscribe: true });
const welcome = (/** @type {boolean} */ resumed) => encodeServerMessage({
  type: 'welcome', participant: 1, ticket: Uint8Array.of(7), seatMs: 30_000, resumed, tracks: [], participants: 0,
  chat: { epoch: 1, sequence: 0 }, locked: false, name: 'Ana',
  permissions: { publish: [], subscribe: true, chat: true, admin: false, hidden: false }, mediaBytesMax: 1000, chatBytesMax: 16384, relay: 'test',
});

/** A carrier that stands after `afterMs` (`null`: fails; infinite: hangs), and what happened on it. */
export class FakeCarrier {
  /** @type {string[]} */
  log = [];
  /** Of the session that stands. @type {import('../../web/sdk/carrier.js').SessionListener | undefined} */
  #listener;

  /** @param {'webtransport' | 'websocket'} carrier @param {{ afterMs: number | null, echo?: boolean, endsAfterMs?: number, isSlow?: boolean, hasRestarted?: boolean }} behaviour `endsAfterMs`: once it has joined; `isSlow`: the relay takes half a second to answer; `hasRestarted`: it knows no seats of before */
  constructor(carrier, { afterMs, echo = true, endsAfterMs, isSlow = false, hasRestarted = false }) {
    this.carrier = carrier;
    this.open = (/** @type {AbortSignal} */ signal) => {
      this.log.push('open');
      return new Promise((/** @type {(session: Session) => void} */ resolve, reject) => {
        signal.addEventListener('abort', () => this.log.push('aborted'));
        if (afterMs === null) reject(new Error('blocked'));
        else if (afterMs !== Infinity) setTimeout(() => resolve(this.#session(echo, endsAfterMs, { isSlow, hasRestarted })), afterMs);
      });
    };
  }

  /** The relay says something on the control stream. @param {import('../../web/sdk/wire/messages.js').ServerMessage} message */
  say(message) {
    this.#listener?.message('control', encodeServerMessage(message));
  }

  /** The session breaks. */
  break() {
    this.#listener?.closed({ reason: 'connection_lost', message: '' });
  }

  /** @param {boolean} echo @param {number | undefined} endsAfterMs @param {{ isSlow: boolean, hasRestarted: boolean }} behaviour @returns {Session} */
  #session(echo, endsAfterMs, { isSlow, hasRestarted }) {
    return {
      carrier: this.carrier,
      listen: (next) => void (this.#listener = next),
      send: (_, message) => {
        const said = decodeClientMessage(message);
        this.log.push(said.type === 'join' && said.ticket ? 'join by ticket' : said.type);
        const answer = () => this.#listener?.message('control', welcome(!hasRestarted));
        if (said.type === 'join' && isSlow) setTimeout(answer, 500);
        else if (said.type === 'join') queueMicrotask(answer);
        if (said.type === 'join' && endsAfterMs !== undefined) setTimeout(() => this.break(), endsAfterMs);
      },
      sendDatagram: (datagram) => { if (echo) queueMicrotask(() => this.#listener?.media(datagram.subarray(1))); },
      sendOnStream() {},
      sendAhead() {},
      datagramsLeftOut: () => 0,
      leftOutOnStreams: () => 0,
      framesOnStreams: () => ({ in: 0, out: 0 }),
      bufferedBytes: () => 0,
      close: () => {
        this.log.push('close');
        this.#listener?.closed({ reason: 'left', message: '' });
      },
    };
  }
}

/** Lets promises and the fake clock run. @param {import('node:test').TestContext} t @param {number} ms */
export async function pass(t, ms) {
  for (let gone = 0; gone <= ms; gone += 10) {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    if (gone < ms) t.mock.timers.tick(10);
  }
}
