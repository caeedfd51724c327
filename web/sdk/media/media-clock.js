/** The time of capture, on the one clock that all tracks of a participant share. */

/** Ticks of the header's timestamp in a millisecond. */
export const TICKS_PER_MS = 90;

/** How much a device's clock may run slower than the page's: parts of the time that passed. Crystals are within 0.0001. */
const DRIFT_MAX = 0.0002;
/** How fast an estimate that was too late is corrected: parts of the time that passed, so that timestamps never go back. */
const CORRECTION_MAX = 0.5;
/** A difference that no delay explains: the device was restarted or the machine slept. In milliseconds. */
const JUMP_MS = 1000;

/** Milliseconds since 1970, as good as the clock of the page goes. The same in all its workers. */
export function nowMs() {
  return performance.timeOrigin + performance.now();
}

/** @param {number} ms since 1970 @returns {number} 90 kHz, the low 32 bits */
export function ticksOf(ms) {
  return Math.round(ms * TICKS_PER_MS) >>> 0;
}

/**
 * Relates a device's own timestamps to the clock of the page. What arrives late was delayed on its way, so the frame that was
 * delayed least says how the two clocks stand to each other.
 */
export class MediaClock {
  /** Page time minus device time, in milliseconds. */
  #offsetMs = NaN;
  #lastMs = 0;

  /**
   * @param {number} deviceMs the device's timestamp
   * @param {number} arrivedMs when the frame was here, on the clock of the page
   * @returns {number} when it was captured, on the clock of the page; never earlier than what came before it
   */
  at(deviceMs, arrivedMs) {
    const seen = arrivedMs - deviceMs;
    const passed = Math.max(0, deviceMs - this.#lastMs);
    if (!(Math.abs(seen - this.#offsetMs) < JUMP_MS)) this.#offsetMs = seen;
    else if (seen < this.#offsetMs) this.#offsetMs = Math.max(seen, this.#offsetMs - passed * CORRECTION_MAX);
    else this.#offsetMs = Math.min(seen, this.#offsetMs + passed * DRIFT_MAX);
    this.#lastMs = deviceMs;
    return deviceMs + this.#offsetMs;
  }
}
