/** Counts freezes as WebRTC's statistics do (`freezeCount` of W3C webrtc-stats): a picture that stands unusually long. */

/** What a picture stands longer than the average to be a freeze, in milliseconds. */
const EXTRA_MS = 150;
/** And how many times as long. */
const TIMES = 3;
/** How much a new interval counts in the average: about the last 30. */
const WEIGHT = 1 / 30;

export class Freezes {
  count = 0;
  #lastMs = NaN;
  #averageMs = NaN;

  /** @param {number} nowMs */
  drawn(nowMs) {
    const interval = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (Number.isNaN(interval)) return;
    if (interval > Math.max(TIMES * this.#averageMs, this.#averageMs + EXTRA_MS)) this.count++;
    this.#averageMs = Number.isNaN(this.#averageMs) ? interval : this.#averageMs + (interval - this.#averageMs) * WEIGHT;
  }

  /** The next picture is one after a pause that was meant: the camera was off, or nobody looked. */
  paused() {
    this.#lastMs = NaN;
  }
}
