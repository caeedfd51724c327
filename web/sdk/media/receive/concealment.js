/** What is heard where a sound is missing: the last pitch period, again and again and softer and softer, then silence. Allocates nothing. */
import { OPUS_SAMPLE_RATE as RATE } from '../audio-format.js';
import { PitchPeriod } from './pitch.js';

/** How long a sound goes on, in samples: 100 ms. */
export const CONCEALED_SAMPLES_MAX = RATE / 10;

export class Concealment {
  /** What it looks at before the gap, in samples. */
  static HISTORY = 3 * PitchPeriod.SAMPLES_MAX;

  #pitch = new PitchPeriod();
  /** The period that is repeated, by channel. @type {Float32Array[]} */
  #template;
  #period = 0;
  #phase = 0;
  /** Samples since the sound was missing. */
  #run = CONCEALED_SAMPLES_MAX;

  /** Begins in silence. @param {number} channels */
  constructor(channels) {
    this.#template = Array.from({ length: channels }, () => new Float32Array(PitchPeriod.SAMPLES_MAX));
  }

  /** Whether the last sample was one of its own. */
  get isActive() {
    return this.#run > 0;
  }

  get isSilent() {
    return this.#run >= CONCEALED_SAMPLES_MAX;
  }

  /** The sound ends here. @param {Float32Array[]} made by channel @param {number} end */
  begin(made, end) {
    this.#period = this.#pitch.findLast(made[0], end);
    this.#phase = 0;
    for (let channel = 0; channel < made.length; channel++) fillTemplate(this.#template[channel], made[channel], end, this.#period);
  }

  /** What follows. @param {number} channel */
  sample(channel) {
    return this.#template[channel][this.#phase] * Math.max(0, 1 - this.#run / CONCEALED_SAMPLES_MAX);
  }

  /** On to the next sample. */
  step() {
    this.#phase = this.#period > 0 ? (this.#phase + 1) % this.#period : 0;
    this.#run = Math.min(this.#run + 1, CONCEALED_SAMPLES_MAX);
  }

  /** The sound is back. */
  end() {
    this.#run = 0;
  }
}

/** The last period before `end`, its last quarter faded into what stands before it, so that it can be repeated. @param {Float32Array} template @param {Float32Array} made @param {number} end @param {number} period */
function fillTemplate(template, made, end, period) {
  const faded = period >> 2;
  for (let at = 0; at < period; at++) {
    const last = made[end - period + at];
    const before = made[end - 2 * period + at];
    const share = Math.max(0, at - (period - faded) + 1) / faded;
    template[at] = last + (before - last) * share;
  }
}
