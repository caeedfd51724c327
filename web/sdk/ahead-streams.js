/** Copies of audio over WebTransport, on streams that go before those with pictures: in Firefox, datagrams leave behind all that is on streams. */
import { streamError } from './frame-streams.js';
import { STREAM_KIND, delimit } from './wire.js';

/** How long one is used, in milliseconds: what was lost of it holds up what follows on it. */
const USED_MS = 500;
/** How long the rest of it may take to leave then. Nobody waits for what comes later. */
const REST_MS = 300;
/** Those under way at a time: one that is used, and one of which the rest leaves. */
export const AHEAD_MAX = 2;

export class AheadStreams {
  #transport;
  /** @type {AheadStream | null} */
  #used = null;
  #underWay = 0;
  /** Datagrams for which there was no stream. */
  leftOut = 0;

  /** @param {WebTransport} transport */
  constructor(transport) {
    this.#transport = transport;
  }

  /** Sends datagrams, zero bytes included. @param {Uint8Array<ArrayBuffer>[]} datagrams */
  send(datagrams) {
    if (!this.#used && this.#underWay < AHEAD_MAX) this.#open();
    if (this.#used) this.#used.write(datagrams);
    else this.leftOut += datagrams.length;
  }

  #open() {
    const stream = this.#used = new AheadStream(this.#transport);
    this.#underWay++;
    setTimeout(() => {
      this.#used = null;
      void stream.end().then(() => this.#underWay--);
    }, USED_MS);
  }
}

class AheadStream {
  #writer;

  /** Without a send order: those that have one go after it. @param {WebTransport} transport */
  constructor(transport) {
    this.#writer = transport.createUnidirectionalStream().then((stream) => stream.getWriter());
    this.#give([Uint8Array.of(STREAM_KIND.media)]);
  }

  /** @param {Uint8Array<ArrayBuffer>[]} datagrams */
  write(datagrams) {
    this.#give(datagrams.map(delimit));
  }

  /** Resolves when all of it has left, or was given up. */
  async end() {
    let timer;
    try {
      const writer = await this.#writer;
      timer = setTimeout(() => void writer.abort(streamError('late')).catch(() => {}), REST_MS);
      await writer.close();
    } catch {
      // It was given up, or the session has ended.
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {Uint8Array<ArrayBuffer>[]} pieces */
  #give(pieces) {
    this.#writer.then((writer) => { for (const piece of pieces) writer.write(piece).catch(() => {}); }, () => {});
  }
}
