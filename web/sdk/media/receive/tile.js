/** How large a canvas is on the screen, in pixels of the device, and whether it is there to be seen. */

/** @typedef {import('./layers.js').Size} Size */

export class Tile {
  #canvas;
  #changed;
  #resizes;
  #intersections;
  /** @type {Size} */
  #size = { width: 0, height: 0 };
  #isIntersecting = false;

  /** @param {HTMLCanvasElement} canvas @param {() => void} changed */
  constructor(canvas, changed) {
    this.#canvas = canvas;
    this.#changed = changed;
    this.#resizes = new ResizeObserver((entries) => this.#resized(entries[entries.length - 1]));
    this.#intersections = new IntersectionObserver((entries) => this.#intersected(entries[entries.length - 1]));
    this.#resizes.observe(canvas);
    this.#intersections.observe(canvas);
  }

  /** Its size; 0 before the page was laid out. @returns {Size} */
  get size() {
    return this.#size;
  }

  /** Whether the picture reaches all its sides: what is too wide or too high for it is cut off, or it is stretched. */
  get isFilled() {
    return ['cover', 'fill'].includes(getComputedStyle(this.#canvas).objectFit);
  }

  get isSeen() {
    return this.#isIntersecting && this.#size.width > 0 && this.#size.height > 0;
  }

  close() {
    this.#resizes.disconnect();
    this.#intersections.disconnect();
  }

  /** @param {ResizeObserverEntry} entry */
  #resized({ contentRect: { width, height } }) {
    const scale = devicePixelRatio;
    this.#size = { width: Math.round(width * scale), height: Math.round(height * scale) };
    this.#changed();
  }

  /** @param {IntersectionObserverEntry} entry */
  #intersected({ isIntersecting }) {
    this.#isIntersecting = isIntersecting && this.#canvas.isConnected;
    this.#changed();
  }
}
