/** Capture timestamps: 1/90000 s, 32 bits, and so many that they begin again after 13 hours. */

/** Ticks in a millisecond. */
export const TICKS_PER_MS = 90;

/** @param {number} ms `performance.timeOrigin + performance.now()` */
export function timestampAt(ms) {
  return Math.round(ms * TICKS_PER_MS) >>> 0;
}

/** The present as a timestamp, the same in every page and worker of one machine. */
export function timestampNow() {
  return timestampAt(performance.timeOrigin + performance.now());
}

/** How much later `a` is than `b`, in milliseconds; negative if it is earlier. Right within 6 hours. @param {number} a @param {number} b */
export function msBetween(a, b) {
  return ((a - b) | 0) / TICKS_PER_MS;
}
