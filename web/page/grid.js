/** How many tiles fit, and how large: rules, as input and output. */

/** The widest and the narrowest that a tile gets, width by height. */
const ASPECT_MAX = 16 / 9;
const ASPECT_MIN = 4 / 3;
/** On an upright screen tiles may be upright too. */
const ASPECT_UPRIGHT_MIN = 3 / 4;

/** Tiles on one page at most: beyond, faces are too small to read. */
const TILES_MAX = 16;

/** The smallest tile that is worth a look, in CSS pixels. */
const TILE_WIDTH_MIN = 148;
const TILE_HEIGHT_MIN = 100;

/** @typedef {{ width: number, height: number, columns: number, perPage: number }} Fit sizes in CSS pixels, of one tile */

/**
 * The largest tiles that fit `count` times.
 * @param {number} count
 * @param {{ width: number, height: number, gap: number }} space in CSS pixels
 * @returns {Fit}
 */
export function fit(count, space) {
  for (let perPage = Math.min(count, TILES_MAX); perPage > 1; perPage--) {
    const found = largest(perPage, space);
    if (found.width >= TILE_WIDTH_MIN && found.height >= TILE_HEIGHT_MIN) return found;
  }
  return largest(1, space);
}

/** @param {number} count @param {{ width: number, height: number, gap: number }} space @returns {Fit} */
function largest(count, { width, height, gap }) {
  const narrowest = width < height ? ASPECT_UPRIGHT_MIN : ASPECT_MIN;
  let best = { width: 0, height: 0, columns: 1, perPage: count };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cellWidth = Math.max(0, (width - gap * (columns - 1)) / columns);
    const cellHeight = Math.max(0, (height - gap * (rows - 1)) / rows);
    const tileWidth = Math.floor(Math.min(cellWidth, cellHeight * ASPECT_MAX));
    const tileHeight = Math.floor(Math.min(cellHeight, cellWidth / narrowest));
    if (tileWidth * tileHeight > best.width * best.height) best = { width: tileWidth, height: tileHeight, columns, perPage: count };
  }
  return best;
}

/**
 * Which tiles are on a page, or on the last one if there is no such page any longer.
 * @template T
 * @param {readonly T[]} tiles
 * @param {number} perPage
 * @param {number} page from 0
 * @returns {{ shown: T[], page: number, pages: number }}
 */
export function pageOf(tiles, perPage, page) {
  const pages = Math.max(1, Math.ceil(tiles.length / perPage));
  const within = Math.min(Math.max(0, page), pages - 1);
  return { shown: tiles.slice(within * perPage, (within + 1) * perPage), page: within, pages };
}
