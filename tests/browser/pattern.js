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
 * @param {string} name
 * @param {'camera' | 'screen'} [source]
 * @returns {Promise<Colour[]>} empty while there is none
 */
export const colours = (tab, name, source) => tab.evaluate(({ tile, columns, rows }) => {
  const picture = document.querySelector(`${tile} canvas`) ?? document.querySelector(`${tile} video`);
  if (!(picture instanceof HTMLCanvasElement || picture instanceof HTMLVideoElement)) return [];
  const small = new OffscreenCanvas(columns, rows).getContext('2d', { willReadFrequently: true });
  small?.drawImage(picture, 0, 0, columns, rows);
  const bytes = small?.getImageData(0, 0, columns, rows).data ?? [];
  return Array.from({ length: columns * rows }, (_, at) => /** @type {Colour} */ ([bytes[4 * at], bytes[4 * at + 1], bytes[4 * at + 2]]));
}, { tile: tile(name, { source }), columns: COLUMNS, rows: ROWS });

/** @param {Colour} one @param {Colour} other */
const isNear = (one, other) => one.every((part, at) => Math.abs(part - other[at]) <= TOLERANCE);

/** @param {Colour[]} picture */
const corners = (picture) => [0, COLUMNS - 1, (ROWS - 1) * COLUMNS, ROWS * COLUMNS - 1].map((at) => picture[at]);

/** Whether a picture is one of a browser's fake camera. @type {Record<Tab['kind'], (picture: Colour[]) => boolean>} */
const PATTERNS = {
  chromium: (picture) => corners(picture).every((corner) => isNear(corner, GREEN)) && picture.some((cell) => !isNear(cell, GREEN)),
  // One colour all over, and another a moment later.
  firefox: (picture) => picture.every((cell) => isNear(cell, picture[0])) && Math.max(...picture[0]) > TOLERANCE,
};

/**
 * Waits until a tile shows the pattern of a browser's fake camera, and that it moves.
 * @param {Tab} tab
 * @param {string} name whose
 * @param {Tab['kind']} from in which browser that one is
 */
export async function showsPattern(tab, name, from) {
  const matches = (/** @type {Colour[]} */ picture) => picture.length > 0 && PATTERNS[from](picture);
  const look = () => colours(tab, name);
  const first = await eventually(`the pattern of ${from}'s camera in the tile of ${name}`, look, matches);
  await eventually(`another picture in the tile of ${name}`, look, (picture) => matches(picture) && picture.some((cell, at) => !isNear(cell, first[at])));
}
