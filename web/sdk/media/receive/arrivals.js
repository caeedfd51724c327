/**
 * Datagrams on their way to the worker. What comes together goes together: a message for each costs a busy page more than anything else
 * that it does with them.
 */

/** Runs something after what has come already, also in a page that nobody looks at, whose timers are slow. @type {((act: () => void) => unknown) | null} */
const afterwards = 'scheduler' in globalThis ? (act) => /** @type {any} */ (globalThis).scheduler.postTask(act) : null;

export class Arrivals {
  #send;
  #later;
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #waiting = [];

  /** @param {(datagrams: Uint8Array<ArrayBuffer>[]) => void} send @param {((act: () => void) => unknown) | null} later `null`: there is no such thing, and each goes at once */
  constructor(send, later = afterwards) {
    this.#send = send;
    this.#later = later;
  }

  /** @param {Uint8Array<ArrayBuffer>} datagram */
  push(datagram) {
    this.#waiting.push(datagram);
    if (!this.#later) this.flush();
    else if (this.#waiting.length === 1) this.#later(() => this.flush());
  }

  /** What waits goes now: something else is to come behind it. */
  flush() {
    if (this.#waiting.length > 0) this.#send(this.#waiting.splice(0));
  }
}
