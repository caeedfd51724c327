/** Differences between capture timestamps: 1/90000 s, 32 bits, so that they begin again after 13 hours. */
import { TICKS_PER_MS } from './media-clock.js';

/** How much later `a` is than `b`, in milliseconds; negative if it is earlier. Right within 6 hours. @param {number} a @param {number} b */
export function msBetween(a, b) {
  return ((a - b) | 0) / TICKS_PER_MS;
}
