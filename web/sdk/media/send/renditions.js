/** The sizes in which a video track is encoded, what each costs, and which are needed now. */

/** The smallest rendition has at least this many lines: about 180. */
const LINES_MIN = 160;
/** As many encoders as one camera is worth. */
export const RENDITIONS_MAX = 3;

/** What a pixel and frame of VP8 may cost at most and has to cost at least, in bits, at 640x360 and 30 frames a second. */
const BITS_PER_PIXEL = { best: 0.085, least: 0.016 };
/** Larger pictures need fewer bits for each pixel: as the power of the number of pixels. */
export const SIZE_EXPONENT = 0.8;
const REFERENCE_PIXELS = 640 * 360;
/** Text has to be legible, and frames are few. */
const SCREEN_FACTOR = 2;

/** @typedef {{ width: number, height: number }} Size */
/**
 * @typedef {object} Rendition
 * @property {number} layer the spatial layer, 0 is the smallest
 * @property {number} width
 * @property {number} height
 * @property {number} bitrateMin bits per second: below it, fewer or smaller frames look better
 * @property {number} bitrateMax bits per second: above it, nobody sees a difference
 */

/**
 * How many sizes a picture is worth, each half of the next.
 * @param {Size} size
 */
export function renditionCount({ width, height }) {
  let count = 1;
  while (count < RENDITIONS_MAX && Math.min(width, height) >> count >= LINES_MIN) count++;
  return count;
}

/** The size that is announced, such that each half of it has even sides. @param {Size} size @param {number} count @returns {Size} */
export function announcedSize({ width, height }, count) {
  const even = (/** @type {number} */ side) => Math.max(side >> count, 1) << count;
  return { width: even(width), height: even(height) };
}

/**
 * @param {Size} size as announced
 * @param {{ count: number, frameRate: number, isScreen?: boolean }} options
 * @returns {Rendition[]} the smallest first
 */
export function renditions(size, { count, frameRate, isScreen = false }) {
  return Array.from({ length: count }, (_, layer) => {
    const width = size.width >> (count - 1 - layer);
    const height = size.height >> (count - 1 - layer);
    const weight = bitsWeight(width * height, frameRate) * (isScreen ? SCREEN_FACTOR : 1);
    return { layer, width, height, bitrateMin: Math.round(weight * BITS_PER_PIXEL.least), bitrateMax: Math.round(weight * BITS_PER_PIXEL.best) };
  });
}

/** Pixels a second, those of large pictures counting less. @param {number} pixels @param {number} frameRate */
function bitsWeight(pixels, frameRate) {
  return REFERENCE_PIXELS * (pixels / REFERENCE_PIXELS) ** SIZE_EXPONENT * frameRate;
}

/**
 * Which layers are encoded.
 * @param {number} count of renditions
 * @param {number} spatialLayers what is wanted, a bit for each
 * @returns {number[]}
 */
export function layersToEncode(count, spatialLayers) {
  return Array.from({ length: count }, (_, layer) => layer).filter((layer) => spatialLayers & (1 << layer));
}

/**
 * The size of a frame that fits a rendition: as the frame is turned, with its proportions, even, and no larger than the frame.
 * @param {Size} frame @param {Size} box @param {number} [scale] a part of the box
 * @returns {Size}
 */
export function fit(frame, box, scale = 1) {
  const isTurned = frame.width > frame.height !== box.width > box.height && frame.width !== frame.height;
  const [width, height] = isTurned ? [box.height, box.width] : [box.width, box.height];
  const factor = Math.min(1, (width * scale) / frame.width, (height * scale) / frame.height);
  const even = (/** @type {number} */ side) => Math.max(2, 2 * Math.round((side * factor) / 2));
  return { width: even(frame.width), height: even(frame.height) };
}
