/** The round trip to the relay, measured again and again; and whether anyone still answers. */

/** Time between two measurements, in milliseconds. */
export const PING_INTERVAL_MS = 2000;
/** An answer that takes longer will not come, in milliseconds. As the relay judges it too. */
export const SILENCE_MS_MAX = 10_000;
/** So many measurements in a row without any answer, while other things are heard all the time: what is sent does not arrive. 4 to 6 s. */
const UNHEARD_MAX = 2;

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
  #heardAtMs = -Infinity;
  /** Measurements in a row in which something was heard, and no answer. */
  #unheard = 0;
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

  /** Something came that is no answer. */
  heard() {
    this.#heardAtMs = this.#options.now();
  }

  /** An answer came. @param {number} token */
  pong(token) {
    const sentAt = this.#sent.get(token);
    if (sentAt === undefined) return;
    const ms = this.#options.now() - sentAt;
    this.#unheard = 0;
    for (const sent of this.#sent.keys()) if (sent <= token) this.#sent.delete(sent);
    this.roundTripMs = this.roundTripMs === null ? ms : this.roundTripMs * (1 - WEIGHT) + ms * WEIGHT;
    this.#options.measured();
  }

  #beat() {
    const now = this.#options.now();
    const oldest = this.#sent.values().next().value;
    // Not after a silence of both: then what was sent meanwhile is still on its way.
    this.#unheard = oldest !== undefined && now - this.#heardAtMs < PING_INTERVAL_MS ? this.#unheard + 1 : 0;
    if (this.#unheard >= UNHEARD_MAX || (oldest !== undefined && now - oldest > SILENCE_MS_MAX)) return this.#options.silent();
    this.#next = setTimeout(() => this.#beat(), PING_INTERVAL_MS);
    this.#sent.set(++this.#token, now);
    this.#options.ping(this.#token);
  }
}
