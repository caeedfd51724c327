/** Which rendition and temporal layers of a video track to take: what its tile can show and the path can carry. */

/** @typedef {{ width: number, height: number }} Size in pixels of the device */
/** @typedef {Size & { isFilled?: boolean }} TileSize `isFilled`: the picture reaches all sides, and may be cut off at some */
/** @typedef {{ spatialLayer: number, temporalLayer: number }} Layers */
/** @typedef {Size & { spatialLayers: number, temporalLayers: number }} VideoLayers */
/**
 * One second of a track.
 * @typedef {object} Second
 * @property {number} received datagrams
 * @property {number} lost
 * @property {number} late frames that the decoder was too slow for
 * @property {boolean} isSilent nothing came although something was to
 */

/** Enlarged by so much a rendition still looks as sharp as the tile shows. */
const ENLARGED_MAX = 1.25;
/** The tile has to be smaller by so much before less is taken, so that a tile that wavers changes nothing. */
const HYSTERESIS = 1.15;
/** Tiles lower than this do not get the highest temporal layer: movement is not seen in them. */
const SMALL_HEIGHT = 100;

/** The share of datagrams lost in a second that is too much. */
export const LOSS_MAX = 0.1;
/** Fewer are bad luck, where few come in a second. */
export const LOST_MIN = 5;
/** Frames in a second that the decoder was too slow for. */
export const LATE_MAX = 3;
/** Bad seconds in a row before one step down. */
export const BAD_SECONDS = 2;
/** Good seconds in a row before one step up; twice as many after each step that did not last, up to the second number. */
export const GOOD_SECONDS = 8;
export const GOOD_SECONDS_MAX = 64;

export class LayerChoice {
  #video;
  /** The lowest rendition that is large enough. */
  #fitting;
  #isSmall = false;
  /** Steps down from what the tile can show. */
  #steps = 0;
  #bad = 0;
  #good = 0;
  #goodNeeded = GOOD_SECONDS;
  #secondsSinceUp = Infinity;

  /** @param {VideoLayers} video of the highest rendition */
  constructor(video) {
    this.#video = { ...video, spatialLayers: Math.max(1, video.spatialLayers), temporalLayers: Math.max(1, video.temporalLayers) };
    this.#fitting = this.#video.spatialLayers - 1;
  }

  /** What to take now. @returns {Layers} */
  get layers() {
    const { temporalLayers } = this.#video;
    const highest = temporalLayers - 1 - (this.#isSmall && temporalLayers > 1 ? 1 : 0);
    const temporalSteps = Math.min(this.#steps, highest);
    return { spatialLayer: Math.max(0, this.#fitting - (this.#steps - temporalSteps)), temporalLayer: highest - temporalSteps };
  }

  /** Its tiles have these sizes. @param {TileSize[]} tiles at least one @param {boolean} [isTurned] whether its pictures are upright and were announced as wide, or the other way round */
  tiles(tiles, isTurned = false) {
    this.#isSmall = tiles.every(({ height }) => height < SMALL_HEIGHT);
    const smallest = (/** @type {number} */ margin) => Math.max(...tiles.map((tile) => this.#smallestFor(tile, isTurned, margin)));
    const needed = smallest(1);
    // Down only when the lower one is large enough with room to spare.
    if (needed >= this.#fitting) this.#fitting = needed;
    else this.#fitting = Math.max(needed, Math.min(this.#fitting, smallest(HYSTERESIS)));
  }

  /** A second has passed. @param {Second} second */
  second({ received, lost, late, isSilent }) {
    const isLossy = lost >= LOST_MIN && lost > (received + lost) * LOSS_MAX;
    const isBad = isSilent || isLossy || late > LATE_MAX;
    this.#secondsSinceUp++;
    this.#bad = isBad ? this.#bad + 1 : 0;
    this.#good = isBad || received === 0 ? 0 : this.#good + 1;
    if (this.#bad >= BAD_SECONDS) this.#down();
    else if (this.#good >= this.#goodNeeded && this.#steps > 0) this.#up();
  }

  #down() {
    const { spatialLayer, temporalLayer } = this.layers;
    this.#bad = 0;
    this.#good = 0;
    if (this.#secondsSinceUp <= GOOD_SECONDS) this.#goodNeeded = Math.min(GOOD_SECONDS_MAX, this.#goodNeeded * 2);
    if (spatialLayer > 0 || temporalLayer > 0) this.#steps++;
  }

  #up() {
    if (this.#secondsSinceUp > 2 * this.#goodNeeded) this.#goodNeeded = GOOD_SECONDS;
    this.#good = 0;
    this.#secondsSinceUp = 0;
    this.#steps--;
  }

  /** @param {TileSize} tile @param {boolean} isTurned @param {number} margin */
  #smallestFor(tile, isTurned, margin) {
    const { spatialLayers } = this.#video;
    const [width, height] = isTurned ? [this.#video.height, this.#video.width] : [this.#video.width, this.#video.height];
    for (let layer = 0; layer < spatialLayers - 1; layer++) {
      const shift = spatialLayers - 1 - layer;
      const sides = [tile.width / (width >> shift), tile.height / (height >> shift)];
      const enlarged = tile.isFilled ? Math.max(...sides) : Math.min(...sides);
      if (enlarged * margin <= ENLARGED_MAX) return layer;
    }
    return spatialLayers - 1;
  }
}
