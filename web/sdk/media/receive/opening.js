/** Opens whole frames that were encrypted end to end, and passes them on in the order in which they came. */

/** @typedef {import('./assembly.js').Frame} Frame */
/** @typedef {{ decrypt(header: Frame['header'], payload: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> }} Cipher rejects what another key sealed */

/** Frames that may be being opened at a time; more are passed over: whoever sends them does not mean them to be seen. */
export const OPENING_MAX = 64;

export class Opening {
  #cipher;
  #opened;
  #sealed;
  /** @type {Promise<void>} */
  #last = Promise.resolve();
  #pending = 0;
  #isClosed = false;

  /**
   * @param {Cipher | null} cipher `null`: nothing is encrypted
   * @param {(frame: Frame) => void} opened
   * @param {() => void} sealed a frame could not be opened
   */
  constructor(cipher, opened, sealed) {
    this.#cipher = cipher;
    this.#opened = opened;
    this.#sealed = sealed;
  }

  /** @param {Frame} frame */
  push(frame) {
    if (!this.#cipher) return this.#opened(frame);
    if (this.#pending >= OPENING_MAX) return;
    this.#pending++;
    const payload = this.#cipher.decrypt(frame.header, frame.payload).catch(() => null);
    this.#last = this.#last.then(async () => this.#pass(frame, await payload));
  }

  close() {
    this.#isClosed = true;
  }

  /** @param {Frame} frame @param {Uint8Array<ArrayBuffer> | null} payload */
  #pass(frame, payload) {
    this.#pending--;
    if (this.#isClosed) return;
    if (!payload) this.#sealed();
    else if (payload.length > 0) this.#opened({ ...frame, payload });
  }
}
