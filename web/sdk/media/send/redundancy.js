/** What is lost on the way can be had from what is sent beside it: audio from what comes with the frame after it, pictures from parity. */

/** From this part of lost datagrams on, more is sent than is needed. Below it, concealment and asking once more do. */
const LOSS_MIN = 0.01;
/** How long it goes on after the last loss, in milliseconds: loss comes in spells. */
const SPELL_MS = 10_000;

/** Whether there is loss. */
export class LossSpell {
  #untilMs = -Infinity;

  /** @param {{ received: number, lost: number }} report datagrams of the last second or so @param {number} nowMs */
  feedback({ received, lost }, nowMs) {
    if (lost > 0 && lost / (received + lost) >= LOSS_MIN) this.#untilMs = nowMs + SPELL_MS;
  }

  /** Whether there is loss at the moment. @param {number} nowMs */
  isDue(nowMs) {
    return nowMs < this.#untilMs;
  }

}

/** Whether there is loss, and the previous frame, which then goes once more behind the current one. Receivers pass doubles over. */
export class Redundancy extends LossSpell {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #previous = [];

  /** @param {Uint8Array<ArrayBuffer>[]} datagrams one frame @returns {Uint8Array<ArrayBuffer>[]} the one before it */
  next(datagrams) {
    const before = this.#previous;
    // Copies: who sends a buffer gives it away.
    this.#previous = datagrams.map((datagram) => datagram.slice());
    return before;
  }

  /** What comes is of another track. */
  forget() {
    this.#previous = [];
  }
}
