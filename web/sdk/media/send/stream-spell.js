/** Whether streams are preferred to datagrams, where those are dropped before they leave: for a while after the relay missed something. */

/**
 * How long, in milliseconds: loss comes in spells. On streams nothing is missing, so that the end of a spell is only seen without them: if the
 * relay misses something again soon, the next time is twice as long.
 */
const SPELL_MS = { least: 10_000, most: 80_000 };
/** How soon after the end of one another one belongs to it, in milliseconds. */
const SOON_MS = 10_000;

export class StreamSpell {
  #untilMs = -Infinity;
  #lengthMs = SPELL_MS.least;

  /** The relay missed something. @param {number} nowMs */
  missed(nowMs) {
    if (nowMs >= this.#untilMs) {
      const isSoon = nowMs < this.#untilMs + SOON_MS;
      this.#lengthMs = isSoon ? Math.min(this.#lengthMs * 2, SPELL_MS.most) : SPELL_MS.least;
    }
    this.#untilMs = nowMs + this.#lengthMs;
  }

  /** @param {number} nowMs */
  lasts(nowMs) {
    return nowMs < this.#untilMs;
  }
}
