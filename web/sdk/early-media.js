/** Media that nobody can take yet: it overtook what says whose it is, or a session is not proved. The last of it is kept. */

/** Datagrams kept: what the relay sends a newcomer of a few videos at once, so that it has a picture. */
export const EARLY_MEDIA_MAX = 256;

export class EarlyMedia {
  /** Oldest first. @type {Uint8Array[]} */
  #kept = [];

  /** @param {Uint8Array} media header and payload of a datagram */
  keep(media) {
    this.#kept.push(media);
    if (this.#kept.length > EARLY_MEDIA_MAX) this.#kept.shift();
  }

  /** All of it, once. */
  take() {
    return this.#kept.splice(0);
  }
}
