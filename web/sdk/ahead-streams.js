/** Copies of audio over WebTransport, on streams that go before those with pictures: in Firefox, datagrams leave behind all that is on streams. */
import { streamError } from './frame-streams.js';
import { STREAM_KIND, delimit } from './wire.js';

/** How long one may take to be opened and written, in milliseconds. Nobody waits for what comes later. */
const AHEAD_MS = 600;
/** Those that are being opened and written at a time: an eighth of a second of audio. Firefox takes at once what is written. */
export const AHEAD_MAX = 6;

export class AheadStreams {
  #transport;
  #underWay = 0;
  /** Datagrams for which there was no stream, or that were given up. */
  leftOut = 0;

  /** @param {WebTransport} transport */
  constructor(transport) {
    this.#transport = transport;
  }

  /** Sends datagrams, zero bytes included, on a stream of their own: what was lost of others holds them up no longer. @param {Uint8Array<ArrayBuffer>[]} datagrams */
  send(datagrams) {
    const leave = () => { this.leftOut += datagrams.length; };
    if (this.#underWay >= AHEAD_MAX) return leave();
    this.#underWay++;
    void this.#carry(datagrams).catch(leave).then(() => this.#underWay--);
  }

  /** Resolves when all of it has left. Without a send order: those that have one go after it. @param {Uint8Array<ArrayBuffer>[]} datagrams */
  async #carry(datagrams) {
    const stale = new AbortController();
    const timer = setTimeout(() => stale.abort(streamError('late')), AHEAD_MS);
    try {
      const writer = (await this.#transport.createUnidirectionalStream()).getWriter();
      const giveUp = () => void writer.abort(stale.signal.reason).catch(() => {});
      stale.signal.addEventListener('abort', giveUp);
      if (stale.signal.aborted) giveUp();
      for (const piece of [Uint8Array.of(STREAM_KIND.media), ...datagrams.map(delimit)]) writer.write(piece).catch(() => {});
      await writer.close();
    } finally {
      clearTimeout(timer);
    }
  }
}
