/** Datagrams of tracks that are not announced yet: control and media come in no order. */

/** Datagrams kept, of all tracks: a large keyframe. */
export const EARLY_MAX = 256;
/** How long, in milliseconds: messages are not later than media for longer. */
export const EARLY_MS_MAX = 2000;

export class Early {
  /** Oldest first. @type {{ atMs: number, track: number, datagram: Uint8Array }[]} */
  #kept = [];

  /** @param {number} nowMs @param {number} track @param {Uint8Array} datagram */
  keep(nowMs, track, datagram) {
    this.#kept.push({ atMs: nowMs, track, datagram });
    if (this.#kept.length > EARLY_MAX) this.#kept.shift();
  }

  /** What came of a track. @param {number} nowMs @param {number} track @returns {Uint8Array[]} */
  take(nowMs, track) {
    this.forget(nowMs);
    const taken = this.#kept.filter((kept) => kept.track === track);
    this.#kept = this.#kept.filter((kept) => kept.track !== track);
    return taken.map(({ datagram }) => datagram);
  }

  /** Lets go of what is too old. @param {number} nowMs */
  forget(nowMs) {
    while (this.#kept.length > 0 && nowMs - this.#kept[0].atMs > EARLY_MS_MAX) this.#kept.shift();
  }

  get size() {
    return this.#kept.length;
  }
}
