/** Counts durations, to say what most of them stay below. */

/** Durations are counted in steps of a millisecond; longer ones count as the longest. */
const LONGEST_MS = 1000;

export class Histogram {
  #counts = new Uint32Array(LONGEST_MS + 1);
  #count = 0;

  /** @param {number} ms */
  add(ms) {
    this.#counts[Math.max(0, Math.min(LONGEST_MS, Math.ceil(ms)))]++;
    this.#count++;
  }

  /** What `share` of all stay below, in milliseconds; `null` before the first. @param {number} share 0 to 1 */
  percentile(share) {
    if (this.#count === 0) return null;
    let seen = 0;
    for (let ms = 0; ms < LONGEST_MS; ms++) {
      seen += this.#counts[ms];
      if (seen >= this.#count * share) return ms;
    }
    return LONGEST_MS;
  }
}
