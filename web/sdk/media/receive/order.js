/** Puts audio frames in order, each once: a decoder of speech goes on from the frame before. A missing one is waited for a little. */
import { msBetween } from '../timestamp.js';

/** @typedef {import('./assembly.js').Frame} Frame */

/** How long a frame waits for the one before it at least, in milliseconds: the next frame, which repeats it where there is loss, and a bit. */
export const PATIENCE_MS = 25;

/** Frames that may wait at a time: more than come in that time. */
export const WAITING_MAX = 16;

export class Order {
  /** By number. @type {Map<number, Frame>} */
  #waiting = new Map();
  /** @type {Frame['header'] | null} */
  #last = null;
  /** Frames that came after their turn. */
  late = 0;

  /** @param {Frame} frame */
  push(frame) {
    const { header } = frame;
    if (this.#last && header.frame <= this.#last.frame) {
      // A page that was loaded again counts its frames from 0, and its clock goes on.
      if (msBetween(header.timestamp, this.#last.timestamp) <= 0) return void this.late++;
      this.#waiting.clear();
      this.#last = null;
    }
    this.#waiting.set(header.frame, frame);
    // A decoder that is not there, or no longer, takes none.
    if (this.#waiting.size > WAITING_MAX + 1) this.#waiting.delete(Math.min(...this.#waiting.keys()));
  }

  get size() {
    return this.#waiting.size;
  }

  /** The next frame, if it is its turn. @param {number} nowMs @param {number} [patienceMs] @returns {Frame | null} */
  pop(nowMs, patienceMs = PATIENCE_MS) {
    if (this.#waiting.size === 0) return null;
    const frame = /** @type {Frame} */ (this.#waiting.get(Math.min(...this.#waiting.keys())));
    const isNext = !this.#last || frame.header.frame === this.#last.frame + 1;
    const waited = nowMs - frame.wholeAtMs >= patienceMs || this.#waiting.size > WAITING_MAX;
    if (!isNext && !waited) return null;
    this.#waiting.delete(frame.header.frame);
    this.#last = frame.header;
    return frame;
  }
}
