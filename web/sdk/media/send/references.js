/** Which earlier frame a video frame needs, in the temporal layers L1T1, L1T2 and L1T3 of WebCodecs. */

/** Numbers the frames of one spatial layer, and says how far back the one stands that each needs. */
export class References {
  #next = 0;
  /** The last frame of each temporal layer since the last keyframe. @type {number[]} */
  #last = [];

  /**
   * A frame of the base layer needs the one of the base layer before it, any other the newest frame of a lower layer.
   * @param {{ keyframe: boolean, temporalLayer: number }} frame
   * @returns {{ frame: number, dependsOnDistance: number }}
   */
  next({ keyframe, temporalLayer }) {
    const frame = this.#next++;
    if (keyframe) this.#last = [];
    const lower = this.#last.slice(0, Math.max(temporalLayer, 1)).filter((number) => number !== undefined);
    const dependsOnDistance = keyframe || lower.length === 0 ? 0 : frame - Math.max(...lower);
    this.#last[temporalLayer] = frame;
    return { frame: frame >>> 0, dependsOnDistance };
  }

  /** Forgets the references: the next frame has to be a keyframe. The numbers go on. */
  reset() {
    this.#last = [];
  }
}
