/**
 * A decoder that outlives the browser's: one that closes or fails is replaced, unless it happens again and again. Outputs are
 * matched with inputs by a list of our own: browsers invent timestamps.
 */

/** Failures within this time, in milliseconds, or decoders in a row that hung at the beginning, which say that the next one will not do better. */
export const FAILURES_MAX = 3;
export const FAILURES_MS = 10_000;

/** How long nothing is tried then, in milliseconds; doubled each time. */
export const REST_MS = { least: 30_000, most: 480_000 };

/**
 * A decoder that has two inputs and gives nothing back for so long has failed without saying so, in milliseconds; at first, one takes seconds to begin
 * on a busy machine. One input may be held back until the next one comes, however late that is.
 */
export const STUCK_MS = { beginning: 10_000, later: 3000 };

/** Inputs without an output that are remembered: more than a queue may hold. */
const PENDING_MAX = 64;

/** @typedef {{ decode(chunk: any): void, configure(config: any): void, close(): void, readonly state: string }} BrowserDecoder */
/** @typedef {{ timestamp: number, close(): void }} Decoded */

/**
 * @template {Decoded} O
 * @template M what is remembered of an input
 * @typedef {object} DecoderOptions
 * @property {(callbacks: { output(decoded: O): void, error(error: unknown): void }) => BrowserDecoder} create
 * @property {() => Promise<boolean>} isSupported
 * @property {object} config
 * @property {(decoded: O, input: M) => void} output is to close what was decoded
 * @property {() => void} renewed the decoder is a new one: it knows nothing of what came before
 * @property {(code: 'codec_unsupported' | 'codec_failed') => void} failed the first for good, the second for a while: see `revive`
 * @property {() => number} [now] milliseconds
 */

/** @template {Decoded} O @template M */
export class Decoder {
  #options;
  #now;
  /** @type {BrowserDecoder | null} */
  #decoder = null;
  /** @type {{ timestamp: number, input: M, atMs: number }[]} */
  #pending = [];
  /** Since when it has had two inputs without an output; infinite: it has not. The list does not tell: of more than it holds, the oldest go. */
  #silentSinceMs = Infinity;
  #hasBegun = false;
  /** Decoders in a row that hung at the beginning. */
  #fruitless = 0;
  /** @type {number[]} */
  #failuresAtMs = [];
  #isClosed = false;
  #restMs = REST_MS.least;
  /** When it may begin again; infinite: never. */
  #restsUntilMs = Infinity;
  failures = 0;

  /** @param {DecoderOptions<O, M>} options */
  constructor(options) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    void this.#begin();
  }

  /** Whether it takes inputs. */
  get isReady() {
    return this.#decoder !== null;
  }

  /** Whether it has given something: one that begins may need seconds for it on a busy machine. */
  get hasBegun() {
    return this.#hasBegun;
  }

  /** Inputs without an output. */
  get pending() {
    return this.#pending.length;
  }

  /** How long the oldest of them that is remembered has been in the decoder, in milliseconds. @returns {number} */
  get waitingMs() {
    return this.#pending.length > 0 ? this.#now() - this.#pending[0].atMs : 0;
  }

  /** @param {{ timestamp: number }} chunk an encoded chunk; its timestamp is to be no other's @param {M} input */
  decode(chunk, input) {
    if (!this.#decoder) return;
    if (this.#isStuck) return this.look();
    this.#pending.push({ timestamp: chunk.timestamp, input, atMs: this.#now() });
    if (this.#pending.length > 1) this.#silentSinceMs = Math.min(this.#silentSinceMs, this.#now());
    if (this.#pending.length > PENDING_MAX) this.#pending.shift();
    try {
      this.#decoder.decode(chunk);
    } catch {
      this.#fail(this.#decoder);
    }
  }

  /** Replaces it if it is stuck. To be called from time to time: who waits for a keyframe gives it nothing. */
  look() {
    if (!this.#decoder || !this.#isStuck) return;
    if (!this.#hasBegun) this.#fruitless++;
    this.#fail(this.#decoder);
  }

  get #isStuck() {
    return this.#now() - this.#silentSinceMs > (this.#hasBegun ? STUCK_MS.later : STUCK_MS.beginning);
  }

  /** Begins again after it has failed and rested. Says whether it did. */
  revive() {
    if (this.#isClosed || this.#now() < this.#restsUntilMs) return false;
    this.#restsUntilMs = Infinity;
    this.#failuresAtMs = [];
    this.#fruitless = 0;
    this.#open();
    this.#options.renewed();
    return this.#decoder !== null;
  }

  close() {
    this.#isClosed = true;
    this.#release();
  }

  async #begin() {
    const isSupported = await this.#options.isSupported().catch(() => false);
    if (this.#isClosed) return;
    if (isSupported) this.#open();
    else this.#options.failed('codec_unsupported');
  }

  #open() {
    const { create, config } = this.#options;
    /** @type {BrowserDecoder} */
    const decoder = create({ output: (decoded) => this.#output(decoder, decoded), error: () => this.#fail(decoder) });
    this.#decoder = decoder;
    try {
      decoder.configure(config);
    } catch {
      this.#fail(decoder);
    }
  }

  /** @param {BrowserDecoder} decoder @param {O} decoded */
  #output(decoder, decoded) {
    if (decoder !== this.#decoder) return decoded.close();
    const at = Math.max(0, this.#pending.findIndex(({ timestamp }) => timestamp === decoded.timestamp));
    const found = this.#pending.splice(0, at + 1).at(-1);
    this.#begun();
    this.#silentSinceMs = this.#pending.length > 1 ? this.#now() : Infinity;
    if (found) this.#options.output(decoded, found.input);
    else decoded.close();
  }

  /** What waited for it to begin has not been slow. */
  #begun() {
    this.#fruitless = 0;
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    for (const pending of this.#pending) pending.atMs = this.#now();
  }

  /** @param {BrowserDecoder} decoder */
  #fail(decoder) {
    if (decoder !== this.#decoder) return;
    this.#release();
    this.failures++;
    const now = this.#now();
    this.#failuresAtMs = [...this.#failuresAtMs.filter((atMs) => now - atMs < FAILURES_MS), now];
    if (Math.max(this.#failuresAtMs.length, this.#fruitless) >= FAILURES_MAX) return this.#rest(now);
    this.#open();
    this.#options.renewed();
  }

  /** @param {number} nowMs */
  #rest(nowMs) {
    this.#restsUntilMs = nowMs + this.#restMs;
    this.#restMs = Math.min(this.#restMs * 2, REST_MS.most);
    this.#options.failed('codec_failed');
  }

  #release() {
    const decoder = this.#decoder;
    this.#decoder = null;
    this.#pending = [];
    this.#silentSinceMs = Infinity;
    this.#hasBegun = false;
    if (decoder && decoder.state !== 'closed') decoder.close();
  }
}
