/** Makes a sound shorter or longer by one pitch period, with a cross-fade in place of a seam: WSOLA, Verhelst and Roelands 1993. */

/** Fades the first period into the second. @param {Float32Array} sound @param {number} start @param {number} length @param {number} period at most half of the length */
export function shorten(sound, start, length, period) {
  for (let at = start; at < start + period; at++) sound[at] += ((sound[at + period] - sound[at]) * (at - start)) / period;
  sound.copyWithin(start + period, start + 2 * period, start + length);
}

/** Fades the second period into the first, which is played again. @param {Float32Array} sound with room for a period more @param {number} start @param {number} length @param {number} period */
export function lengthen(sound, start, length, period) {
  sound.copyWithin(start + 2 * period, start + period, start + length);
  for (let at = start; at < start + period; at++) {
    const second = sound[at + 2 * period];
    sound[at + period] = second + ((sound[at] - second) * (at - start)) / period;
  }
}
