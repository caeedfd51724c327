/** Lets through as many frames a second as are wanted, evenly. */

/** How early a frame may come, as a part of the interval: devices are not exact. */
const EARLY = 0.3;

export class FrameGate {
  #dueMs = -Infinity;

  /** @param {number} captureMs @param {number} frameRate @returns {boolean} whether this frame is one of those wanted */
  passes(captureMs, frameRate) {
    const intervalMs = 1000 / frameRate;
    if (captureMs < this.#dueMs - intervalMs * EARLY) return false;
    const nextMs = this.#dueMs + intervalMs;
    this.#dueMs = nextMs > captureMs ? nextMs : captureMs + intervalMs;
    return true;
  }
}
