/**
 * Whether streams are preferred to datagrams, where those are dropped before they leave: for a while after the relay missed something, or the
 * browser left some out. Audio stays on datagrams, so that a browser which takes too few of them for that alone goes on with streams.
 */

/**
 * How long, in milliseconds: loss comes in spells. Of pictures on streams nothing is missing, so that the end of a spell is only seen without
 * them: if something is missing again soon, the next time is twice as long.
 */
const SPELL_MS = { least: 10_000, most: 80_000 };
/** How soon after the end of one another one belongs to it, in milliseconds. */
const SOON_MS = 10_000;

export class StreamSpell {
  #untilMs = -Infinity;
  #lengthMs = SPELL_MS.least;

  /** The relay missed something, or will. @param {number} nowMs */
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
