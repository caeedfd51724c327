/** The round trip to the relay, measured again and again; whether anything comes at the moment, and whether anyone still answers. */

/** Time between two measurements, in milliseconds. */
export const PING_INTERVAL_MS = 2000;
/** An answer that takes longer will not come, in milliseconds. As the relay judges it too. */
export const SILENCE_MS_MAX = 10_000;
/** Whoever is heard all the time and has not answered for so long does not hear what is sent, in milliseconds. Two pings have left by then. */
export const DEAF_MS = 4000;
/** Nothing for so long, and the way back stood still, in milliseconds. The way there may have, too: what was sent before is still on its way. */
export const STILL_MS = 1000;
/** Nothing for so long is told, in milliseconds: an answer comes every two seconds, and media far more often. */
export const QUIET_MS = 3000;
/** Where something should come and nothing has for so long, an answer is asked for, in milliseconds: in a silent room nothing comes either. */
export const DOUBT_MS = 500;
/** What was asked for has come after so long, or after two round trips, on a path that carries anything, in milliseconds. */
const ANSWER_MS = 500;
/** Nothing for so long, and no answer: UDP does not pass at the moment, in milliseconds. As `src/client/carrier/silence.rs`. */
export const UNHEARD_MS = 1000;
/** How often that is looked at, in milliseconds. */
const LOOK_MS = 250;
/** A beat that is so late was kept waiting by the page, in milliseconds, and so was what came meanwhile. */
export const LATE_MS = 1500;

/** Bytes a second, below which next to nothing comes: less than relays send that have media to send and hear nothing. */
const TRICKLE_RATE = 1000;
/** Bytes a second that usually come where there is media: less than a voice has. */
const MEDIA_RATE = 4000;
/** How much a beat counts in which less came than usual: that is not forgotten while hardly anything comes for a minute. */
const FALLING_WEIGHT = 1 / 32;

/** How much a new measurement counts. */
const WEIGHT = 0.25;

/**
 * @typedef {object} HeartbeatOptions
 * @property {(token: number) => void} ping
 * @property {() => void} measured
 * @property {(isQuiet: boolean) => void} quiet nothing comes at the moment, or something does again
 * @property {() => void} silent nobody answers; told once
 * @property {((isUnheard: boolean) => void) | null} unheard long before that: nothing comes that should, or something does again. `null`: nobody wants to know
 * @property {() => boolean} isSending whether media is sent, which is answered in some way
 * @property {() => number} [now] milliseconds
 */

export class Heartbeat {
  #options;
  /** Tokens of pings without an answer, and when they left, oldest first. @type {Map<number, number>} */
  #sent = new Map();
  #token = 0;
  #heardAtMs = -Infinity;
  /** Since when something is heard all the time, by a page that listens. */
  #steadySinceMs = -Infinity;
  /** Heard since the last beat. */
  #bytes = 0;
  /** Bytes a second that usually come while all is answered. */
  #usualRate = 0;
  #beatAtMs;
  #lookedAtMs;
  /** Since when a page listens that was not busy or asleep. */
  #listeningSinceMs;
  /** Since when an answer is waited for, and nothing came. @type {number | null} */
  #askedAtMs = null;
  #isUnheard = false;
  #looks;
  /** Whether the last beat was late. */
  #isLate = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #next;
  /** Smoothed; `null` before the first. @type {number | null} */
  roundTripMs = null;
  /** Whether nothing comes at the moment. */
  isQuiet = false;

  /** @param {HeartbeatOptions} options */
  constructor(options) {
    this.#options = { now: () => performance.now(), ...options };
    this.#beatAtMs = this.#lookedAtMs = this.#listeningSinceMs = this.#options.now();
    this.#looks = setInterval(() => this.#look(), LOOK_MS);
    this.#beat();
  }

  stop() {
    clearTimeout(this.#next);
    clearInterval(this.#looks);
  }

  /** Something came. @param {number} bytes */
  heard(bytes) {
    const now = this.#options.now();
    if (now - this.#heardAtMs > STILL_MS) this.#steadySinceMs = now;
    this.#heardAtMs = now;
    this.#bytes += bytes;
    this.#askedAtMs = null;
    if (this.#isUnheard) this.#setUnheard(false);
    if (this.isQuiet) this.#setQuiet(false);
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

  #look() {
    const now = this.#options.now();
    const isLate = now - this.#lookedAtMs > LOOK_MS + LATE_MS;
    this.#lookedAtMs = now;
    if (isLate) {
      // What came while the page was busy is heard next.
      [this.#listeningSinceMs, this.#askedAtMs] = [now, null];
      return;
    }
    const nothingForMs = now - Math.max(this.#heardAtMs, this.#listeningSinceMs);
    if (this.#options.unheard) this.#doubt(now, nothingForMs);
    // Last: whoever is told may end it.
    if (!this.isQuiet && nothingForMs > QUIET_MS) this.#setQuiet(true);
  }

  /** @param {number} now @param {number} nothingForMs */
  #doubt(now, nothingForMs) {
    const answerMs = Math.max(ANSWER_MS, 2 * (this.roundTripMs ?? 0));
    const isUnanswered = this.#askedAtMs !== null && now - this.#askedAtMs >= answerMs;
    if (isUnanswered && nothingForMs >= UNHEARD_MS && !this.#isUnheard) this.#setUnheard(true);
    const isExpected = this.#usualRate >= MEDIA_RATE || this.#options.isSending();
    if (nothingForMs >= DOUBT_MS && (isExpected || isUnanswered)) this.#ping(now);
  }

  /** @param {boolean} isUnheard */
  #setUnheard(isUnheard) {
    this.#isUnheard = isUnheard;
    this.#options.unheard?.(isUnheard);
  }

  /** @param {boolean} isQuiet */
  #setQuiet(isQuiet) {
    this.isQuiet = isQuiet;
    this.#options.quiet(isQuiet);
  }

  #beat() {
    const now = this.#options.now();
    const passedMs = now - this.#beatAtMs;
    const rate = passedMs > 0 ? (this.#bytes * 1000) / passedMs : 0;
    [this.#beatAtMs, this.#bytes] = [now, 0];
    const oldest = this.#sent.values().next().value;
    const [isLate, wasLate] = [passedMs > PING_INTERVAL_MS + LATE_MS, this.#isLate];
    this.#isLate = isLate;
    // Timers of a page in the background may all be late, and what comes is read meanwhile.
    if (isLate && wasLate && oldest !== undefined && now - oldest > SILENCE_MS_MAX) return this.#options.silent();
    if (isLate) this.#steadySinceMs = now;
    else if (oldest === undefined) this.#usualRate += (rate - this.#usualRate) * (rate > this.#usualRate ? 1 : FALLING_WEIGHT);
    else if (now - oldest > SILENCE_MS_MAX || this.#isDeaf(now, oldest, rate)) return this.#options.silent();
    this.#next = setTimeout(() => this.#beat(), PING_INTERVAL_MS);
    this.#ping(now);
  }

  /** @param {number} now */
  #ping(now) {
    this.#askedAtMs ??= now;
    this.#sent.set(++this.#token, now);
    this.#options.ping(this.#token);
  }

  /**
   * Where much less comes than usual, the way back is what has failed, and answers are lost or late like everything else on it. As
   * `src/client/carrier/uplink.rs`.
   * @param {number} now @param {number} oldest when the ping left that waits longest @param {number} rate bytes a second since the last beat
   */
  #isDeaf(now, oldest, rate) {
    const isHeard = now - this.#heardAtMs <= STILL_MS && now - Math.max(oldest, this.#steadySinceMs) >= DEAF_MS;
    return isHeard && (rate >= TRICKLE_RATE || this.#usualRate < MEDIA_RATE);
  }
}
