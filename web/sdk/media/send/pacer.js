/** When datagrams leave: a few at a time, and audio at once. */

/** Datagrams that leave together. Firefox drops what is queued beyond about ten: this leaves room for audio beside it. */
export const BURST_DATAGRAMS_MAX = 8;
/** The least time between two bursts, in milliseconds: what a timer of a browser can do. */
export const BURST_GAP_MS_MIN = 4;
/** What may wait, in datagrams: two of the largest frames. */
export const WAITING_DATAGRAMS_MAX = 4096;

/** Over which part of a frame's interval its datagrams are spread. The rest is for what comes late. */
const SPREAD = 0.5;
/** With more bursts than this waiting, they leave as fast as they may. */
const BEHIND_BURSTS = 6;

/** @template T @typedef {{ datagrams: Uint8Array<ArrayBuffer>[], tag: T }} Burst datagrams that leave together, and whose they are */

/**
 * @template T
 * @typedef {object} PacerOptions
 * @property {(burst: Burst<T>) => void} send
 * @property {(wake: () => void, ms: number) => unknown} [later] as `setTimeout`
 */

/** @template T */
export class Pacer {
  #options;
  /** @type {(Burst<T> & { gapMs: number })[]} */
  #waiting = [];
  #waitingDatagrams = 0;
  #isResting = false;
  /** Whether frames leave whole and at once: a carrier that orders and buffers by itself paces by itself. */
  isWhole = false;

  /** @param {PacerOptions<T>} options */
  constructor(options) {
    this.#options = { later: (/** @type {() => void} */ wake, /** @type {number} */ ms) => setTimeout(wake, ms), ...options };
  }

  /** Sends at once, before all that waits. For audio. @param {Burst<T>} burst */
  urgent(burst) {
    this.#options.send(burst);
  }

  /**
   * Sends the datagrams of a video frame, spread over a part of the time until the next.
   * @param {Burst<T>} frame @param {number} intervalMs until the next frame
   * @returns {boolean} false: too much waits already, and nothing of it is sent
   */
  push({ datagrams, tag }, intervalMs) {
    if (this.isWhole) {
      this.#options.send({ datagrams, tag });
      return true;
    }
    if (this.#waitingDatagrams + datagrams.length > WAITING_DATAGRAMS_MAX) return false;
    const bursts = Math.ceil(datagrams.length / BURST_DATAGRAMS_MAX);
    const gapMs = Math.max(BURST_GAP_MS_MIN, Math.floor((intervalMs * SPREAD) / bursts));
    for (let at = 0; at < datagrams.length; at += BURST_DATAGRAMS_MAX) {
      this.#waiting.push({ datagrams: datagrams.slice(at, at + BURST_DATAGRAMS_MAX), tag, gapMs });
    }
    this.#waitingDatagrams += datagrams.length;
    if (!this.#isResting) this.#next();
    return true;
  }

  /** Forgets what waits. */
  clear() {
    this.#waiting = [];
    this.#waitingDatagrams = 0;
  }

  #next() {
    const burst = this.#waiting.shift();
    this.#isResting = burst !== undefined;
    if (!burst) return;
    this.#waitingDatagrams -= burst.datagrams.length;
    this.#options.send(burst);
    this.#options.later(() => this.#next(), this.#rest(burst));
  }

  /** What follows a burst that was not full waits less. @param {{ datagrams: unknown[], gapMs: number }} burst */
  #rest({ datagrams, gapMs }) {
    const isBehind = this.#waiting.length > BEHIND_BURSTS;
    return isBehind ? BURST_GAP_MS_MIN : Math.max(BURST_GAP_MS_MIN, Math.ceil((gapMs * datagrams.length) / BURST_DATAGRAMS_MAX));
  }
}
