/** What was sent lately, so that it can be sent once more when the relay did not get it. As `src/media/recent.rs`. */
import { PREFIX_BYTES, decodeMedia } from '../../wire/media.js';
import { wants } from '../../wire/repeat.js';
import { DEADLINE_MS } from '../receive/gaps.js';

/** Datagrams of all tracks that are kept: 400 ms of the most that the relay takes. */
export const DATAGRAMS_MAX = 600;
/** The same in bytes. */
export const BYTES_MAX = 256 * 1024;

/** @typedef {{ header: import('../../wire/media.js').MediaHeader, datagram: Uint8Array<ArrayBuffer>, untilMs: number, atMs: number }} Kept */

export class Recent {
  /** The oldest first. @type {Kept[]} */
  #kept = [];
  #bytes = 0;

  /** @param {number} nowMs @param {'audio' | 'video'} kind @param {Uint8Array<ArrayBuffer>[]} datagrams zero bytes included; not written to any more */
  push(nowMs, kind, datagrams) {
    for (const datagram of datagrams) {
      const { payload: _, ...header } = decodeMedia(datagram.subarray(PREFIX_BYTES));
      // Whoever misses it has missed what it could be made good from.
      if (header.parity) continue;
      this.#kept.push({ header, datagram, untilMs: nowMs + DEADLINE_MS[kind], atMs: nowMs });
      this.#bytes += datagram.length;
    }
    const tooMany = (/** @type {Kept} */ { atMs }) => atMs + DEADLINE_MS.video <= nowMs || this.#kept.length > DATAGRAMS_MAX || this.#bytes > BYTES_MAX;
    while (this.#kept.length > 0 && tooMany(this.#kept[0])) this.#bytes -= /** @type {Kept} */ (this.#kept.shift()).datagram.length;
  }

  /** What is asked for and still worth sending. @param {number} nowMs @param {import('../../wire/repeat.js').RepeatRequest} request @returns {Kept[]} */
  find(nowMs, { track, spatialLayer, wanted }) {
    const found = this.#kept.filter(({ header, untilMs }) => untilMs > nowMs && header.track === track && header.spatialLayer === spatialLayer
      && wanted.some((one) => wants(one, header.frame, header.fragmentIndex)));
    // Audio that was sent twice is here twice.
    return found.filter(({ header }, at) => found.findIndex((other) => other.header.frame === header.frame && other.header.fragmentIndex === header.fragmentIndex) === at);
  }

  clear() {
    this.#kept = [];
    this.#bytes = 0;
  }
}
