/**
 * How long what is captured is on its way, as far as a receiver can know: clocks of two machines are not related, so only
 * differences count. `jitterMs` is the interarrival jitter of RFC 3550, section 6.4.1 (RTP). The delay is how much longer than the
 * shortest of the last seconds; of a report, that of whatever took the least time since the one before: a queue that stands delays
 * everything, and what comes late by itself says nothing about the way (RFC 8289, section 3.2).
 */
import { ticksOf } from '../media-clock.js';
import { msBetween } from '../timestamp.js';

/** How much a new difference counts in the jitter: the RFC's own. */
const JITTER_WEIGHT = 1 / 16;

/** Of fewer than so many since the last report, even the quickest may be late by itself: the first ones of a camera, or the last. */
const OBSERVED_MIN = 5;

/** What a report says of the delay is against this many seconds. */
export const REPORTED_SECONDS = 10;

export class Transit {
  /** The first one: others are told relative to it, so that nothing wraps. @type {number | null} */
  #base = null;
  #lastMs = 0;
  /** The shortest of each second that is remembered. @type {number[]} */
  #leastMs;
  #second = 0;
  /** Of what came since the last report. */
  #leastSinceMs = Infinity;
  #observedSince = 0;
  jitterMs = 0;

  /** @param {number} seconds for which the shortest is remembered */
  constructor(seconds) {
    this.#leastMs = new Array(seconds).fill(Infinity);
  }

  /** Something captured at `timestamp` is here. @param {number} nowMs @param {number} timestamp @returns {number} its delay, in milliseconds */
  observe(nowMs, timestamp) {
    const transit = (ticksOf(nowMs) - timestamp) >>> 0;
    const ms = msBetween(transit, (this.#base ??= transit));
    this.jitterMs += (Math.abs(ms - this.#lastMs) - this.jitterMs) * JITTER_WEIGHT;
    this.#lastMs = ms;
    const second = Math.floor(nowMs / 1000);
    const { length } = this.#leastMs;
    for (let passed = Math.min(second - this.#second, length); passed > 0; passed--) this.#leastMs[(second - passed + 1) % length] = Infinity;
    this.#second = second;
    this.#leastMs[second % length] = Math.min(this.#leastMs[second % length], ms);
    this.#leastSinceMs = Math.min(this.#leastSinceMs, ms);
    this.#observedSince++;
    return ms - Math.min(...this.#leastMs);
  }

  /** The delay for a report, in milliseconds; 0 if hardly anything came since the last one. */
  takeDelayMs() {
    const delayMs = this.#observedSince < OBSERVED_MIN ? 0 : this.#leastSinceMs - Math.min(...this.#leastMs);
    this.#leastSinceMs = Infinity;
    this.#observedSince = 0;
    return delayMs;
  }
}
