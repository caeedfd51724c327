/** Finds the pitch period of a sound: the shift by which it is most like itself. Allocates nothing. */
import { OPUS_SAMPLE_RATE as RATE } from '../audio-format.js';

/** Looking at each fourth sample is enough for what voices repeat. */
const STRIDE = 4;

export class PitchPeriod {
  /** Periods of voices, in samples: 400 Hz to 100 Hz. */
  static SAMPLES_MIN = RATE / 400;
  static SAMPLES_MAX = RATE / 100;

  /** Of the last period found: 1 is the same again, 0 is noise. */
  likeness = 0;
  /** Of the sound that was looked at, as the mean square. */
  energy = 0;

  /** In `length` samples from `start`, so that two periods are there. @param {Float32Array} sound @param {number} start @param {number} length @returns {number} samples; 0 if it is too short */
  find(sound, start, length) {
    const longest = Math.min(PitchPeriod.SAMPLES_MAX, length >> 1);
    return this.#best(sound, start, longest, length - longest);
  }

  /** In the samples before `end`. @param {Float32Array} sound @param {number} end @returns {number} */
  findLast(sound, end) {
    return this.#best(sound, end - 2 * PitchPeriod.SAMPLES_MAX, PitchPeriod.SAMPLES_MAX, PitchPeriod.SAMPLES_MAX);
  }

  /** @param {Float32Array} sound @param {number} start @param {number} longest @param {number} window */
  #best(sound, start, longest, window) {
    let best = 0;
    this.likeness = -1;
    for (let period = PitchPeriod.SAMPLES_MIN; period <= longest; period += STRIDE) {
      const likeness = this.#compare(sound, start, period, window);
      if (likeness <= this.likeness) continue;
      this.likeness = likeness;
      best = period;
    }
    return best;
  }

  /** @param {Float32Array} sound @param {number} start @param {number} period @param {number} window */
  #compare(sound, start, period, window) {
    let [product, one, other] = [0, 0, 0];
    for (let at = start; at < start + window; at += STRIDE) {
      product += sound[at] * sound[at + period];
      one += sound[at] * sound[at];
      other += sound[at + period] * sound[at + period];
    }
    this.energy = (one * STRIDE) / window;
    return product / (Math.sqrt(one * other) + 1e-9);
  }
}
