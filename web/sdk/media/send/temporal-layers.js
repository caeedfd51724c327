/** How many temporal layers of a video track are encoded: those that somebody takes. */

/** Nobody takes a layer for so long, in milliseconds, before it is not encoded either: on a short path it is tried again every few seconds. */
export const UNTAKEN_MS = 5000;
/** Of the bits of all layers, what those up to each take, by how many layers there are: as the encoders of WebCodecs share them out. */
const BIT_SHARES = [[1], [0.6, 1], [0.4, 0.6, 1]];

/** @typedef {{ frameRate: number, bitrate: number }} Part of what all layers have */

export class TemporalLayers {
  #count;
  /** Until the relay has said so. */
  #taken;
  #encoded;
  /** Since when fewer are taken than encoded. */
  #fewerSinceMs = Infinity;

  /** @param {number} count of the track as it is announced */
  constructor(count) {
    this.#count = this.#taken = this.#encoded = Math.min(Math.max(count, 1), BIT_SHARES.length);
  }

  /** @param {number} highest layer that anybody takes @param {number} nowMs */
  want(highest, nowMs) {
    this.#taken = Math.min(highest + 1, this.#count);
    if (this.#taken >= this.#encoded) this.#fewerSinceMs = Infinity;
    else if (this.#fewerSinceMs === Infinity) this.#fewerSinceMs = nowMs;
  }

  /** How many are to be encoded. @param {number} nowMs @returns {number} */
  encoded(nowMs) {
    if (this.#taken > this.#encoded || nowMs - this.#fewerSinceMs >= UNTAKEN_MS) {
      this.#encoded = this.#taken;
      this.#fewerSinceMs = Infinity;
    }
    return this.#encoded;
  }

  /** What is encoded now, in parts of all layers: each layer has as many frames as those below it together. @returns {Part} */
  get part() {
    return { frameRate: 2 ** (this.#encoded - this.#count), bitrate: BIT_SHARES[this.#count - 1][this.#encoded - 1] };
  }
}
