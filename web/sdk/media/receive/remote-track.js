/** A track of someone else, as a program sees it. */
import { TertuliaError } from '../../error.js';

/** @typedef {import('../../wire/messages.js').PublishedTrack} PublishedTrack */
/** @typedef {import('../../wire/messages.js').TrackInfo} TrackInfo */
/** @typedef {'waiting' | 'playing' | 'stalled' | 'failed'} TrackState `waiting`: nothing is to be seen or heard yet, or it is muted; `stalled`: it should go on and does not */
/**
 * What the engine does for a track.
 * @typedef {object} TrackEngine
 * @property {(canvas: HTMLCanvasElement) => void} attached
 * @property {(canvas: HTMLCanvasElement, isOurs: boolean) => void} detached `isOurs`: the canvas will not be used again
 * @property {() => void} volumeChanged
 * @property {() => void} subscribedChanged
 * @property {() => void} pinnedChanged
 * @property {() => Record<string, any>} stats
 */

export class RemoteTrack {
  #volume = 1;
  #isSubscribed = true;
  #isPinned = false;
  /** Where it is shown: elements and the canvases that show it. @type {Map<HTMLElement, HTMLCanvasElement>} */
  #shown = new Map();
  /** @type {TrackEngine | null} */
  #engine = null;
  /** Whether an engine had it before. */
  #isUsed = false;
  /** Kept by the engine. @type {TrackState} */
  state = 'waiting';
  /** Whether the relay does not send it at the moment, because others spoke later: it comes when they speak, or when it is pinned. Kept by the engine. */
  isHeld = false;
  /** Audio: how loud it is, 0 to 1. Kept by the engine. */
  level = 0;
  /** Video: the size of the picture that comes, in pixels; 0 before the first. Kept by the engine. */
  width = 0;
  height = 0;

  /** @param {PublishedTrack} published */
  constructor({ track, info, muted }) {
    /** @readonly */
    this.id = track;
    /** What the publisher says about it. @readonly @type {TrackInfo} */
    this.info = info;
    /** Whether the publisher, or an admin, silences it. */
    this.muted = muted;
  }

  get source() {
    return this.info.source;
  }

  /** @returns {'audio' | 'video'} */
  get kind() {
    return this.info.media.type;
  }

  /** 0 to 1. */
  get volume() {
    return this.#volume;
  }

  /** Whether the program wants it. Video that nobody sees is not asked of the relay all the same. */
  get isSubscribed() {
    return this.#isSubscribed;
  }

  /** Whether the program wants it also while the relay sends others instead. */
  get isPinned() {
    return this.#isPinned;
  }

  /**
   * Shows the video: on a canvas, which belongs to this meeting from then on, or on one that is put into the element and fills it. The
   * resolution follows the size of the canvas on the screen; `--picture-fit: cover` in the page's style fills the element, where the picture
   * is whole otherwise. Audio is heard without being attached.
   * @param {HTMLElement} element
   * @returns {HTMLCanvasElement | null} the canvas that shows it; `null` for audio
   */
  attach(element) {
    if (this.kind === 'audio') return null;
    if (element instanceof HTMLMediaElement || element instanceof HTMLImageElement) {
      throw new TertuliaError('element_unsuitable', 'Video is drawn on a canvas. Attach the track to a <canvas>, or to an element such as a <div> that gets one inside.');
    }
    const known = this.#shown.get(element);
    if (known) return known;
    const canvas = element instanceof HTMLCanvasElement ? element : canvasIn(element);
    canvas.toggleAttribute('data-upright', this.height > this.width);
    try {
      this.#engine?.attached(canvas);
    } catch (error) {
      if (canvas !== element) canvas.remove();
      throw error;
    }
    this.#shown.set(element, canvas);
    return canvas;
  }

  /** No longer shows it there. A canvas of the program's own keeps the last picture. @param {HTMLElement} [element] left out: everywhere */
  detach(element) {
    const elements = element ? [element] : [...this.#shown.keys()];
    for (const one of elements) {
      const canvas = this.#shown.get(one);
      if (!canvas) continue;
      this.#shown.delete(one);
      const isOurs = canvas !== one;
      this.#engine?.detached(canvas, isOurs);
      if (isOurs) canvas.remove();
    }
  }

  /** How loud it is to be here. @param {number} volume 0 to 1 */
  setVolume(volume) {
    this.#volume = Math.min(1, Math.max(0, volume));
    this.#engine?.volumeChanged();
  }

  /** Whether to receive it at all. @param {boolean} isSubscribed */
  setSubscribed(isSubscribed) {
    if (this.#isSubscribed === isSubscribed) return;
    this.#isSubscribed = isSubscribed;
    this.#engine?.subscribedChanged();
  }

  /** In large rooms the relay may send the cameras of the last speakers alone: whether to receive this one in any case. @param {boolean} isPinned */
  setPinned(isPinned) {
    if (this.#isPinned === isPinned) return;
    this.#isPinned = isPinned;
    this.#engine?.pinnedChanged();
  }

  /** Figures of the last second (`received`, `lost` datagrams, `jitterMs`, `delayMs`, `bitrate`) and altogether; empty while there is no session. */
  stats() {
    return this.#engine?.stats() ?? {};
  }

  /** For the engine alone: pictures of this size come. The canvases of upright ones have the attribute `data-upright`. @param {{ width: number, height: number }} size */
  resized({ width, height }) {
    Object.assign(this, { width, height });
    for (const canvas of this.#shown.values()) canvas.toggleAttribute('data-upright', height > width);
  }

  /** For the engine alone: it takes the track over, or lets it go. @param {TrackEngine | null} engine */
  connect(engine) {
    this.#engine = engine;
    if (!engine) return;
    for (const [element, canvas] of this.#shown) {
      try {
        engine.attached(this.#isUsed ? this.#renewed(element, canvas) : canvas);
      } catch (error) {
        // The program attached it before there was a meeting, and does not wait for an answer any longer.
        reportError(error);
      }
    }
    this.#isUsed = true;
  }

  /** A canvas stays with the meeting that drew on it: after that is over, another takes its place where it is ours. @param {HTMLElement} element @param {HTMLCanvasElement} canvas */
  #renewed(element, canvas) {
    if (canvas === element) return canvas;
    const fresh = canvasIn(element);
    fresh.toggleAttribute('data-upright', this.height > this.width);
    canvas.replaceWith(fresh);
    this.#shown.set(element, fresh);
    return fresh;
  }
}

/** @param {HTMLElement} element */
function canvasIn(element) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas.style, { display: 'block', width: '100%', height: '100%', objectFit: 'var(--picture-fit, contain)' });
  return element.appendChild(canvas);
}
