/**
 * How many requests for datagrams once more leave: whoever publishes decides what is missing, and must not decide what others send. Each
 * can ask for a hundred. As `REPEAT_ASKS` in `src/limits.rs`.
 */

const PER_SECOND = 300;
const BURST = 150;

export class Asks {
  #left = BURST;
  #atMs = 0;

  /** Whether one more may leave. @param {number} nowMs */
  take(nowMs) {
    this.#left = Math.min(BURST, this.#left + ((nowMs - this.#atMs) * PER_SECOND) / 1000);
    this.#atMs = nowMs;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
