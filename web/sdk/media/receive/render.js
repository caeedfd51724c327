/** Draws the pictures of one track onto the canvases that show it, at the size at which they are seen. */

/** @typedef {import('./layers.js').Size} Size */
/** @typedef {{ canvas: OffscreenCanvas, context: OffscreenCanvasRenderingContext2D | null, tile: Size }} Surface `tile`: its size on the screen; 0 while it is not known or not seen */

/** @param {OffscreenCanvas} canvas @param {Size} tile @returns {Surface} */
export function surfaceOf(canvas, tile) {
  // Once: Firefox gives the context of a canvas of the page only the first time.
  return { canvas, context: canvas.getContext('2d', { alpha: false }), tile };
}

export class Renderer {
  /** @type {Map<number, Surface>} */
  #surfaces = new Map();

  get isShown() {
    return this.#surfaces.size > 0;
  }

  /** @param {number} id @param {Surface} surface */
  attach(id, surface) {
    const shown = this.#surfaces.values().next().value;
    this.#surfaces.set(id, surface);
    if (shown) paint(surface, shown.canvas, { width: shown.canvas.width, height: shown.canvas.height });
  }

  /** Its picture stays until something else is drawn. @param {number} id */
  detach(id) {
    this.#surfaces.delete(id);
  }

  /** Draws a frame, which it closes. @param {VideoFrame} frame */
  draw(frame) {
    try {
      for (const surface of this.#surfaces.values()) paint(surface, frame, { width: frame.displayWidth, height: frame.displayHeight });
    } finally {
      frame.close();
    }
  }
}

/** @param {Surface} surface @param {CanvasImageSource} picture @param {Size} size of the picture */
function paint({ canvas, context, tile }, picture, size) {
  const { width, height } = drawnSize(size, tile);
  // Setting the size clears the canvas, and costs.
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context?.drawImage(picture, 0, 0, width, height);
}

/** What a canvas may have, in pixels: a screen of 4K. Who sends more does not mean it to be seen, and a canvas costs four bytes for each. */
export const DRAWN_PIXELS_MAX = 4096 * 2304;

/** As large as the tile needs it when the picture covers it, and no larger than the picture is or a canvas may be. @param {Size} picture @param {Size} tile @returns {Size} */
export function drawnSize(picture, tile) {
  const covers = Math.max(tile.width / picture.width, tile.height / picture.height);
  const scale = Math.min(covers > 0 ? covers : 1, 1, Math.sqrt(DRAWN_PIXELS_MAX / (picture.width * picture.height)));
  return { width: Math.max(1, Math.round(picture.width * scale)), height: Math.max(1, Math.round(picture.height * scale)) };
}
