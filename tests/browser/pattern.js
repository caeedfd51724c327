// The patterns of fake cameras and microphones: what comes out of a tile and a loudspeaker has to be what went in.
import { tile } from './guest.js';
import { eventually } from './tab.js';

/** @typedef {import('./tab.js').Tab} Tab */
/** @typedef {readonly [red: number, green: number, blue: number]} Colour */

const COLUMNS = 8;
const ROWS = 4;
/** How far a colour may be from what it should be, after an encoder: of 255. */
const TOLERANCE = 24;
/** Chromium's camera shows a disc with a mouth before this. @type {Colour} */
const GREEN = [0, 135, 0];

/**
 * A picture as few colours, row by row.
 * @param {Tab} tab
 * @param {string} selector of a canvas or a video
 * @returns {Promise<Colour[]>} empty while there is none
 */
export const colours = (tab, selector) => tab.evaluate(({ selector, columns, rows }) => {
  const picture = document.querySelector(selector);
  if (!(picture instanceof HTMLCanvasElement || picture instanceof HTMLVideoElement)) return [];
  const small = new OffscreenCanvas(columns, rows).getContext('2d', { willReadFrequently: true });
  small?.drawImage(picture, 0, 0, columns, rows);
  const bytes = small?.getImageData(0, 0, columns, rows).data ?? [];
  return Array.from({ length: columns * rows }, (_, at) => /** @type {Colour} */ ([bytes[4 * at], bytes[4 * at + 1], bytes[4 * at + 2]]));
}, { selector, columns: COLUMNS, rows: ROWS });

/** @param {Colour} one @param {Colour} other */
const isNear = (one, other) => one.every((part, at) => Math.abs(part - other[at]) <= TOLERANCE);

/** Half way up: what is shared as a screen has other things in its corners. @param {Colour[]} picture */
const sides = (picture) => [1, 2].flatMap((row) => [picture[row * COLUMNS], picture[(row + 1) * COLUMNS - 1]]);

/** Whether a picture may be one of a browser's fake camera. @type {Record<Tab['kind'], (picture: Colour[]) => boolean>} */
const GROUNDS = {
  chromium: (picture) => sides(picture).every((side) => isNear(side, GREEN)),
  // One colour all over, and another a moment later.
  firefox: (picture) => picture.every((cell) => isNear(cell, picture[0])) && Math.max(...picture[0]) > TOLERANCE,
};

/** Whether it is one: so few colours do not show the disc at each moment. @type {Record<Tab['kind'], (picture: Colour[]) => boolean>} */
const PATTERNS = {
  chromium: (picture) => GROUNDS.chromium(picture) && picture.some((cell) => !isNear(cell, GREEN)),
  firefox: GROUNDS.firefox,
};

/**
 * Waits until a canvas or a video shows the pattern of a browser's fake camera, and that it moves.
 * @param {Tab} tab
 * @param {string} selector
 * @param {Tab['kind']} from the browser that has the camera
 */
export async function looksLike(tab, selector, from) {
  const matches = (/** @type {Colour[]} */ picture) => picture.length > 0 && PATTERNS[from](picture);
  const look = () => colours(tab, selector);
  const first = await eventually(`the pattern of ${from}'s camera in ${selector}`, look, matches);
  await eventually(`another picture in ${selector}`, look, (picture) => matches(picture) && picture.some((cell, at) => !isNear(cell, first[at])));
}

/** The same of someone else's tile. @param {Tab} tab @param {string} name @param {Tab['kind']} from @param {'camera' | 'screen'} [source] */
export const showsPattern = (tab, name, from, source) => looksLike(tab, `${tile(name, { source })} canvas`, from);

/**
 * What is to be seen of someone else at this moment, which need not move.
 * @param {Tab} tab
 * @param {string} name
 * @param {Tab['kind']} from the browser that has the camera
 */
export async function lastPicture(tab, name, from) {
  const selector = `${tile(name)} canvas`;
  const isVisible = await tab.evaluate((selector) => document.querySelector(selector)?.checkVisibility({ visibilityProperty: true }) === true, selector);
  const picture = await colours(tab, selector);
  return { isVisible, isPattern: picture.length > 0 && GROUNDS[from](picture), picture };
}
