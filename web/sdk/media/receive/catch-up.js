/**
 * Whether video comes as it is captured. A subscription begins with what the relay has kept: it is late already, and comes faster
 * than it was captured. That says nothing about the path, and nobody has waited for it.
 */
import { msBetween } from '../timestamp.js';

/** How much faster than it was captured something may come and be live, as jitter makes it. */
const PACE_MAX = 1.25;

export class CatchUp {
  #isLive = false;
  /** The frame before. @type {{ atMs: number, timestamp: number } | null} */
  #before = null;

  /** A frame captured at `timestamp` begins to come. @param {number} nowMs @param {number} timestamp @returns {boolean} whether it says something about the path */
  observe(nowMs, timestamp) {
    if (this.#isLive) return true;
    this.#isLive = this.#before !== null && msBetween(timestamp, this.#before.timestamp) <= (nowMs - this.#before.atMs) * PACE_MAX;
    if (!this.#isLive) this.#before = { atMs: nowMs, timestamp };
    return this.#isLive;
  }

  /** Whether what was captured at `timestamp` was late when it was sent. @param {number} timestamp */
  isPast(timestamp) {
    return this.#before !== null && msBetween(timestamp, this.#before.timestamp) <= 0;
  }
}
