/** How many temporal layers of a video track are encoded: those that somebody takes. */

/** Nobody takes a layer for so long, in milliseconds, before it is not encoded either: on a short path it is tried again every few seconds. */
export const UNTAKEN_MS = 5000;
/** Of the bits of all layers, what those up to each take, by how many layers there are: so the encoders of Chromium and Firefox share them out. */
const BIT_SHARES = [[1], [0.6, 1], [0.5, 0.7, 1]];

/** @typedef {{ frameRate: number, bitrate: number }} Part of what all layers have */

export class TemporalLayers {
  #count;
  #least;
  /** How many somebody takes; all until the relay has said so. */
  #taken;
  #encoded;
  /** When each was taken last. @type {number[]} */
  #takenAtMs;

  /** @param {number} count of the track as it is announced @param {number} [least] with fewer the browser encodes nothing */
  constructor(count, least = 1) {
    this.#count = this.#taken = this.#encoded = Math.min(Math.max(count, 1), BIT_SHARES.length);
    this.#least = least;
    this.#takenAtMs = Array(this.#count).fill(-Infinity);
  }

  /** @param {number} highest layer that anybody takes @param {number} nowMs */
  want(highest, nowMs) {
    this.#takenAtMs.fill(nowMs, 0, this.#taken);
    this.#taken = Math.min(highest + 1, this.#count);
  }

  /** How many are to be encoded: all at once when one more is taken, since a change may begin with a keyframe. @param {number} nowMs @returns {number} */
  encoded(nowMs) {
    if (this.#taken > this.#encoded) {
      this.#encoded = this.#count;
      this.#takenAtMs.fill(nowMs);
    }
    while (this.#encoded > Math.max(this.#taken, this.#least) && nowMs - this.#takenAtMs[this.#encoded - 1] >= UNTAKEN_MS) this.#encoded--;
    return this.#encoded;
  }

  /** What is encoded now, in parts of all layers: each layer has as many frames as those below it together. @returns {Part} */
  get part() {
    return { frameRate: 2 ** (this.#encoded - this.#count), bitrate: BIT_SHARES[this.#count - 1][this.#encoded - 1] };
  }
}
