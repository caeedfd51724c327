/** Audio that is lost on the way can be had from what comes with the frame after it. */

/** From this part of lost datagrams on, audio is sent twice. Below it, concealment does. */
const LOSS_MIN = 0.01;
/** How long it goes on after the last loss, in milliseconds: loss comes in spells. */
const SPELL_MS = 10_000;

/** Sends the previous frame once more beside the current one while there is loss. Receivers pass doubles over. */
export class Redundancy {
  #untilMs = -Infinity;
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #previous = [];

  /** @param {{ received: number, lost: number }} report datagrams of the last second or so @param {number} nowMs */
  feedback({ received, lost }, nowMs) {
    if (lost > 0 && lost / (received + lost) >= LOSS_MIN) this.#untilMs = nowMs + SPELL_MS;
  }

  /** @param {Uint8Array<ArrayBuffer>[]} datagrams one frame @param {number} nowMs @returns {Uint8Array<ArrayBuffer>[]} what to send now */
  next(datagrams, nowMs) {
    const now = nowMs < this.#untilMs ? [...datagrams, ...this.#previous] : datagrams;
    // Copies: who sends a buffer gives it away.
    this.#previous = datagrams.map((datagram) => datagram.slice());
    return now;
  }
}
