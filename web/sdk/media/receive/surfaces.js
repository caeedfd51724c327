/** The canvases that the worker draws on. A canvas can be given to one worker, once, and stays with it. */
import { TertuliaError } from '../../error.js';

/** Canvases that some worker has. @type {WeakSet<HTMLCanvasElement>} */
const given = new WeakSet();

export class Surfaces {
  /** @type {WeakMap<HTMLCanvasElement, number>} */
  #ids = new WeakMap();
  #last = 0;
  #released;
  /** Programs forget canvases without a word. @type {FinalizationRegistry<number>} */
  #forgotten = new FinalizationRegistry((id) => this.#released(id));

  /** @param {(id: number) => void} released the worker need not keep it */
  constructor(released) {
    this.#released = released;
  }

  /** Which surface a canvas is. The first time, what the worker needs of it is there too. @param {HTMLCanvasElement} canvas @returns {{ surface: number, canvas?: OffscreenCanvas }} */
  surfaceOf(canvas) {
    const known = this.#ids.get(canvas);
    if (known !== undefined) return { surface: known };
    const offscreen = given.has(canvas) ? null : transfer(canvas);
    if (!offscreen) {
      throw new TertuliaError('canvas_used', 'This canvas was drawn on already, by the page or in an earlier meeting. Make a new one, or attach the track to an element that gets one inside.');
    }
    given.add(canvas);
    const surface = ++this.#last;
    this.#ids.set(canvas, surface);
    this.#forgotten.register(canvas, surface, canvas);
    return { surface, canvas: offscreen };
  }

  /** The canvas will not be used again. @param {HTMLCanvasElement} canvas */
  release(canvas) {
    const id = this.#ids.get(canvas);
    this.#ids.delete(canvas);
    this.#forgotten.unregister(canvas);
    if (id !== undefined) this.#released(id);
  }
}

/** @param {HTMLCanvasElement} canvas */
function transfer(canvas) {
  try {
    return canvas.transferControlToOffscreen();
  } catch {
    return null;
  }
}
