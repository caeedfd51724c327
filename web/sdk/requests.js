/** What is asked of the relay: each request has a number, and one answer with that number. */
import { TertuliaError } from './error.js';
import { sentence } from './sentences.js';

/** @typedef {import('./wire/messages.js').ClientMessage} ClientMessage */
/** @typedef {import('./wire/messages.js').ServerMessage} ServerMessage */
/** @typedef {Extract<ServerMessage, { type: 'done' | 'published' | 'measurements' | 'failed' }>} Answer */
/** @template T @typedef {T extends { request: number } ? Omit<T, 'request'> : never} Unnumbered */
/** @typedef {Unnumbered<ClientMessage>} Request */

export class Requests {
  /** @type {Map<number, { resolve(answer: Answer): void, reject(error: TertuliaError): void }>} */
  #waiting = new Map();
  #last = 0;

  /**
   * Resolves with the answer.
   * @param {Request} request
   * @param {(message: ClientMessage) => void} send throws if the room is not connected
   * @returns {Promise<Answer>}
   */
  ask(request, send) {
    return new Promise((resolve, reject) => {
      const number = (this.#last = (this.#last + 1) >>> 0);
      send(/** @type {ClientMessage} */ ({ ...request, request: number }));
      this.#waiting.set(number, { resolve, reject });
    });
  }

  /** @param {Answer} answer */
  answered(answer) {
    const waiting = this.#waiting.get(answer.request);
    this.#waiting.delete(answer.request);
    if (answer.type === 'failed') waiting?.reject(new TertuliaError(answer.reason, sentence(answer.reason, answer.message)));
    else waiting?.resolve(answer);
  }

  /** The session ended: nobody will answer. */
  interrupted() {
    for (const { reject } of this.#waiting.values()) {
      reject(new TertuliaError('connection_lost', 'The connection broke before the relay answered. See whether it was done, and do it again if not.'));
    }
    this.#waiting.clear();
  }
}
