/** Typed events: `on` and `off` for each kind, `for await` over all of them. */
import { TertuliaError } from './error.js';

/** Events that may wait for a loop that does not keep up. */
const WAITING_MAX = 10_000;

/** @template E @typedef {{ [K in keyof E]: { type: K, value: E[K] } }[keyof E]} EventOf */

/** @template E */
export class Emitter {
  /** @type {Map<keyof E, Set<(value: any) => void>>} */
  #listeners = new Map();
  /** @type {Set<(event: EventOf<E>) => void>} */
  #taps = new Set();

  /** @template {keyof E} K @param {K} type @param {(value: E[K]) => void} listener @returns {this} */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return this;
  }

  /** @template {keyof E} K @param {K} type @param {(value: E[K]) => void} listener @returns {this} */
  off(type, listener) {
    this.#listeners.get(type)?.delete(listener);
    return this;
  }

  /** @protected @template {keyof E} K @param {K} type @param {E[K]} value */
  emit(type, value) {
    // A listener that throws must not keep the others from hearing.
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        reportError(error);
      }
    }
    for (const tap of [...this.#taps]) tap({ type, value });
  }

  /** @returns {AsyncGenerator<EventOf<E>, void, void>} */
  async *[Symbol.asyncIterator]() {
    const waiting = /** @type {EventOf<E>[]} */ ([]);
    let wake = () => {};
    const tap = (/** @type {EventOf<E>} */ event) => {
      if (waiting.length <= WAITING_MAX) waiting.push(event);
      wake();
    };
    this.#taps.add(tap);
    try {
      for (;;) {
        if (waiting.length > WAITING_MAX) throw new TertuliaError('events_unread', 'Events were not read fast enough. Read them in a loop that does not wait for other work.');
        const event = waiting.shift();
        if (event) yield event;
        if (event?.type === 'disconnected') return;
        if (!event) await new Promise((resolve) => { wake = () => resolve(undefined); });
      }
    } finally {
      this.#taps.delete(tap);
    }
  }
}
