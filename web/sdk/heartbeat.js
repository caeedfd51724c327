/** The round trip to the relay, measured again and again; and whether anyone still answers. */

/** Time between two measurements, in milliseconds. */
export const PING_INTERVAL_MS = 2000;
/** An answer that takes longer will not come, in milliseconds. As the relay judges it too. */
export const SILENCE_MS_MAX = 10_000;

/** How much a new measurement counts. */
const WEIGHT = 0.25;

/**
 * @typedef {object} HeartbeatOptions
 * @property {(token: number) => void} ping
 * @property {() => void} measured
 * @property {() => void} silent nobody answers; told once
 * @property {() => number} [now] milliseconds
 */

export class Heartbeat {
  #options;
  /** Tokens of pings without an answer, and when they left, oldest first. @type {Map<number, number>} */
  #sent = new Map();
  #token = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #next;
  /** Smoothed; `null` before the first. @type {number | null} */
  roundTripMs = null;

  /** @param {HeartbeatOptions} options */
  constructor(options) {
    this.#options = { now: () => performance.now(), ...options };
    this.#beat();
  }

  stop() {
    clearTimeout(this.#next);
  }

  /** An answer came. @param {number} token */
  pong(token) {
    const sentAt = this.#sent.get(token);
    if (sentAt === undefined) return;
    const ms = this.#options.now() - sentAt;
    for (const sent of this.#sent.keys()) if (sent <= token) this.#sent.delete(sent);
    this.roundTripMs = this.roundTripMs === null ? ms : this.roundTripMs * (1 - WEIGHT) + ms * WEIGHT;
    this.#options.measured();
  }

  #beat() {
    const now = this.#options.now();
    const oldest = this.#sent.values().next().value;
    if (oldest !== undefined && now - oldest > SILENCE_MS_MAX) return this.#options.silent();
    this.#next = setTimeout(() => this.#beat(), PING_INTERVAL_MS);
    this.#sent.set(++this.#token, now);
    this.#options.ping(this.#token);
  }
}
