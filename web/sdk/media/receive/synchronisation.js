/**
 * When to draw a decoded picture so that lips and words agree. The audio leads: it cannot be shifted without being heard.
 *
 * People notice sound that is later than the picture from 125 ms on, and sound that is earlier from 45 ms on (ITU-R BT.1359-1). So a
 * picture is drawn at once unless the sound is much later, and held only as long as it takes to come near to it.
 */
import { ticksOf } from '../media-clock.js';
import { msBetween } from '../timestamp.js';

/** How much later than the picture the sound may be, in milliseconds: below what is noticed. */
export const SOUND_BEHIND_MS_MAX = 110;

/** How long a picture is held at most, in milliseconds: with what may be behind, as much as the longest playout. */
export const HOLD_MS_MAX = 80;

/** How long what is known of the sound is true, in milliseconds: it is told ten times a second. */
const KNOWN_MS = 500;

/** How much a new delay counts. */
const WEIGHT = 1 / 4;

export class Synchronisation {
  #delayMs = 0;
  #knownAtMs = -Infinity;

  /** What is heard now was captured at `timestamp`. @param {number} nowMs of the wall clock @param {number} timestamp @param {number} outputMs from the playout to the ear @returns {number} how much later it is heard than it was captured, in milliseconds */
  heard(nowMs, timestamp, outputMs) {
    const delayMs = msBetween(ticksOf(nowMs), timestamp) + outputMs;
    const isFresh = nowMs - this.#knownAtMs < KNOWN_MS;
    this.#delayMs = isFresh ? this.#delayMs + (delayMs - this.#delayMs) * WEIGHT : delayMs;
    this.#knownAtMs = nowMs;
    return delayMs;
  }

  /** How long to hold a picture that was captured at `timestamp`, in milliseconds. @param {number} nowMs @param {number} timestamp */
  holdMs(nowMs, timestamp) {
    if (nowMs - this.#knownAtMs >= KNOWN_MS) return 0;
    const pictureMs = msBetween(ticksOf(nowMs), timestamp);
    return Math.min(HOLD_MS_MAX, Math.max(0, this.#delayMs - pictureMs - SOUND_BEHIND_MS_MAX));
  }
}
