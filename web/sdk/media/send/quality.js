/** What is given up, and in which order, when there are too few bits or too little computing time: frames first, then pixels. */
import { SIZE_EXPONENT } from './renditions.js';

/** Parts of the full frame rate and of each side of the full size, the best first. */
export const QUALITY_STEPS = Object.freeze([
  { frameRate: 1, scale: 1 },
  { frameRate: 2 / 3, scale: 1 },
  { frameRate: 1 / 2, scale: 1 },
  { frameRate: 1 / 2, scale: 3 / 4 },
  { frameRate: 1 / 2, scale: 1 / 2 },
  { frameRate: 1 / 3, scale: 1 / 2 },
]);

/** A better step is taken when there is this much more than it needs: the next report may say less. */
const MARGIN = 1.25;

/**
 * The step for a rendition.
 * @param {number} bitrate what it may have, bits per second
 * @param {number} bitrateMin what it needs at the best step
 * @param {number} current the step it is at
 * @returns {number} an index of {@link QUALITY_STEPS}
 */
export function qualityStep(bitrate, bitrateMin, current) {
  const enough = QUALITY_STEPS.findIndex(({ frameRate, scale }, step) => {
    const needed = bitrateMin * frameRate * scale ** (2 * SIZE_EXPONENT);
    return bitrate >= needed * (step < current ? MARGIN : 1);
  });
  return enough === -1 ? QUALITY_STEPS.length - 1 : enough;
}

/** Over what the load is judged, in milliseconds. */
const WINDOW_MS = 2000;
/** Parts of the frames that had to be left out because the encoders were busy: far too many, too many, and none to speak of. */
const DROPPED = { most: 0.4, many: 0.15, few: 0.03 };
/** How long it has to be calm before a better step is tried, in milliseconds; doubled each time that this was too much. */
const CALM_MS = { least: 8000, most: 120_000 };
/** A step that failed sooner than this was too much, in milliseconds. */
const FAILED_MS = 10_000;

/** Finds the step at which this machine keeps up. */
export class Load {
  #offered = 0;
  #dropped = 0;
  #sinceMs = NaN;
  #calmSinceMs = NaN;
  #calmMs = CALM_MS.least;
  #raisedAtMs = -Infinity;
  /** An index of {@link QUALITY_STEPS}. */
  step = 0;

  /** A frame came from the device. @param {boolean} isDropped because an encoder was busy @param {number} nowMs */
  frame(isDropped, nowMs) {
    this.#offered++;
    if (isDropped) this.#dropped++;
    if (Number.isNaN(this.#sinceMs)) this.#sinceMs = this.#calmSinceMs = nowMs;
    if (nowMs - this.#sinceMs < WINDOW_MS) return;
    this.#judge(this.#dropped / this.#offered, nowMs);
    this.#offered = this.#dropped = 0;
    this.#sinceMs = nowMs;
  }

  /** @param {number} dropped part of the frames @param {number} nowMs */
  #judge(dropped, nowMs) {
    if (dropped > DROPPED.few) this.#calmSinceMs = nowMs;
    if (dropped > DROPPED.many && this.step < QUALITY_STEPS.length - 1) {
      if (nowMs - this.#raisedAtMs < FAILED_MS) this.#calmMs = Math.min(this.#calmMs * 2, CALM_MS.most);
      this.step = Math.min(this.step + (dropped > DROPPED.most ? 2 : 1), QUALITY_STEPS.length - 1);
    } else if (this.step > 0 && nowMs - this.#calmSinceMs >= this.#calmMs) {
      this.step--;
      this.#raisedAtMs = this.#calmSinceMs = nowMs;
    }
  }
}
