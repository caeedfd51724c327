/**
 * How long what is captured is on its way, as far as a receiver can know: clocks of two machines are not related, so only
 * differences count. `delayMs` is how much longer than the shortest of the last ten seconds, `jitterMs` the interarrival jitter of
 * RFC 3550, section 6.4.1 (RTP).
 */
import { ticksOf } from './media-clock.js';
import { msBetween } from './timestamp.js';

/** What is remembered for the shortest: one least value per second. */
const SECONDS = 10;
/** How much a new difference counts in the jitter: the RFC's own. */
const JITTER_WEIGHT = 1 / 16;

export class Transit {
  /** The first one: others are told relative to it, so that nothing wraps. @type {number | null} */
  #base = null;
  #lastMs = 0;
  #leastMs = new Array(SECONDS).fill(Infinity);
  #second = 0;
  jitterMs = 0;
  delayMs = 0;

  /** Something captured at `timestamp` is here. @param {number} nowMs @param {number} timestamp @returns {number} `delayMs` */
  observe(nowMs, timestamp) {
    const transit = (ticksOf(nowMs) - timestamp) >>> 0;
    const ms = msBetween(transit, (this.#base ??= transit));
    this.jitterMs += (Math.abs(ms - this.#lastMs) - this.jitterMs) * JITTER_WEIGHT;
    this.#lastMs = ms;
    const second = Math.floor(nowMs / 1000);
    for (let passed = Math.min(second - this.#second, SECONDS); passed > 0; passed--) this.#leastMs[(second - passed + 1) % SECONDS] = Infinity;
    this.#second = second;
    this.#leastMs[second % SECONDS] = Math.min(this.#leastMs[second % SECONDS], ms);
    this.delayMs = ms - Math.min(...this.#leastMs);
    return this.delayMs;
  }
}
