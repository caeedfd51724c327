/** The time of capture, on the one clock that all tracks of a participant share. */

/** Ticks of the header's timestamp in a millisecond. */
export const TICKS_PER_MS = 90;

/** The least delay of so long counts, in milliseconds, and at most of twice as long: a device whose clock stood still is late for good. */
const WINDOW_MS = 1000;
/** How fast an estimate that is too early by now is corrected: parts of the time that passed. */
const DRIFT_MAX = 0.05;
/** One that is too early by more, in milliseconds, is corrected at once: the device stood still. Until then, all that it gives seems to be late. */
const STOOD_STILL_MS = 100;
/**
 * How fast an estimate that was too late is corrected: parts of the time that passed, so that timestamps never go back. In the first
 * window, what waited while everything began comes all at once: a timestamp that is still too late then makes all that follow seem late.
 */
const CORRECTION_MAX = { beginning: 0.95, later: 0.5 };
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
  /** The least offset of the window that is on, and of the one before. */
  #least = Infinity;
  #leastBefore = Infinity;
  #windowEndsMs = 0;

  /**
   * @param {number} deviceMs the device's timestamp
   * @param {number} arrivedMs when the frame was here, on the clock of the page
   * @returns {number} when it was captured, on the clock of the page; never earlier than what came before it
   */
  at(deviceMs, arrivedMs) {
    const seen = arrivedMs - deviceMs;
    const passed = Math.max(0, deviceMs - this.#lastMs);
    if (!(Math.abs(seen - this.#offsetMs) < JUMP_MS)) this.#begin(deviceMs, seen);
    const least = this.#leastOf(deviceMs, seen);
    const correction = this.#leastBefore === Infinity ? CORRECTION_MAX.beginning : CORRECTION_MAX.later;
    if (least < this.#offsetMs) this.#offsetMs = Math.max(least, this.#offsetMs - passed * correction);
    else if (least > this.#offsetMs + STOOD_STILL_MS) this.#offsetMs = least;
    else this.#offsetMs = Math.min(least, this.#offsetMs + passed * DRIFT_MAX);
    this.#lastMs = deviceMs;
    return deviceMs + this.#offsetMs;
  }

  /** @param {number} deviceMs @param {number} seen */
  #begin(deviceMs, seen) {
    this.#offsetMs = seen;
    this.#least = this.#leastBefore = Infinity;
    this.#windowEndsMs = deviceMs + WINDOW_MS;
  }

  /** @param {number} deviceMs @param {number} seen */
  #leastOf(deviceMs, seen) {
    if (deviceMs >= this.#windowEndsMs) {
      this.#leastBefore = this.#least;
      this.#least = Infinity;
      this.#windowEndsMs = deviceMs + WINDOW_MS;
    }
    this.#least = Math.min(this.#least, seen);
    return Math.min(this.#least, this.#leastBefore);
  }
}
