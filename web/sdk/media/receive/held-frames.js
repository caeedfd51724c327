/** Decoded pictures that are held until their sound is heard. Few: they are the decoder's memory. */

/** Pictures held at a time; one more, and the oldest is drawn. */
export const HELD_MAX = 4;

/** @template {{ close(): void }} F @typedef {{ frame: F, timestamp: number, timer: ReturnType<typeof setTimeout> }} Held */

/** @template {{ close(): void }} F */
export class HeldFrames {
  #draw;
  /** Oldest first. @type {Held<F>[]} */
  #held = [];

  /** @param {(frame: F, timestamp: number) => void} draw */
  constructor(draw) {
    this.#draw = draw;
  }

  /** Draws a picture after so long; those before it are drawn first, or not at all. @param {F} frame @param {number} timestamp @param {number} holdMs */
  add(frame, timestamp, holdMs) {
    if (holdMs < 1 && this.#held.length === 0) return this.#draw(frame, timestamp);
    const held = { frame, timestamp, timer: setTimeout(() => this.#due(held), holdMs) };
    this.#held.push(held);
    if (this.#held.length > HELD_MAX) this.#due(this.#held[0]);
  }

  /** @returns {number} */
  get size() {
    return this.#held.length;
  }

  close() {
    for (const { frame, timer } of this.#held.splice(0)) {
      clearTimeout(timer);
      frame.close();
    }
  }

  /** The latest that is due wins. @param {Held<F>} due */
  #due(due) {
    const passed = this.#held.splice(0, this.#held.indexOf(due) + 1);
    for (const { frame, timer } of passed) {
      clearTimeout(timer);
      if (frame !== due.frame) frame.close();
    }
    this.#draw(due.frame, due.timestamp);
  }
}
